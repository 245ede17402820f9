package iosxr

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// naming makes the names of what the driver configures. LSPs and classes keep
// their own names (signalled-name, remark); access lists, class maps and policy
// maps, whose names cannot hold a "/", are named by what they are for.
type naming struct {
	owner string // "mpbox/lab/"
	base  string // "mpbox-lab"
	list  *regexp.Regexp
}

func newNaming(owner string) naming {
	base := strings.ReplaceAll(strings.TrimSuffix(owner, "/"), "/", "-")
	return naming{owner: owner, base: base, list: regexp.MustCompile("^" + regexp.QuoteMeta(base) + "-fc([1-7])-(.+)$")}
}

func (n naming) owns(name string) bool { return n.owner != "" && strings.HasPrefix(name, n.owner) }

// path of a tunnel.
func (n naming) path(tunnel uint32) string { return fmt.Sprintf("%s-te%d", n.base, tunnel) }

// steer names the access lists and the class map of a forward class on an interface.
func (n naming) steer(iface string, class uint8) string {
	return fmt.Sprintf("%s-fc%d-%s", n.base, class, flat(iface))
}

// policy names the policy map of an interface.
func (n naming) policy(iface string) string { return n.base + "-" + flat(iface) }

// parseSteer is the reverse of steer; the interface stays flat.
func (n naming) parseSteer(name string) (class uint8, iface string, ok bool) {
	m := n.list.FindStringSubmatch(name)
	if m == nil {
		return 0, "", false
	}
	c, err := strconv.ParseUint(m[1], 10, 3)
	return uint8(c), m[2], err == nil
}

// flat writes an interface's name without "/".
func flat(iface string) string { return strings.ReplaceAll(iface, "/", "_") }

// maxName is the longest name of a class map or policy map.
const maxName = 63
