package snmp

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gosnmp/gosnmp"
)

// The conceptual rows and scalars that the driver uses.
const (
	sysUpTime = "1.3.6.1.2.1.1.3.0" // SNMPv2-MIB, RFC 3418

	ifEntry  = "1.3.6.1.2.1.2.2.1"    // IF-MIB, RFC 2863, section 6: ifDescr
	ifXEntry = "1.3.6.1.2.1.31.1.1.1" // IF-MIB, RFC 2863, section 6: ifName

	// MPLS-TE-STD-MIB, RFC 3812, section 10.
	te               = "1.3.6.1.2.1.10.166.3.2"
	tunnelEntry      = te + ".2.1" // index: tunnel, instance, ingress LSR id, egress LSR id
	hopListIndexNext = te + ".3.0"
	hopEntry         = te + ".4.1" // index: list, path option, hop
	resIndexNext     = te + ".5.0"
	resEntry         = te + ".6.1" // index: resource
	arHopEntry       = te + ".7.1" // index: list, hop

	// MPLS-FTN-STD-MIB, RFC 3814, section 7.
	ftn          = "1.3.6.1.2.1.10.166.8.1"
	ftnIndexNext = ftn + ".1.0"
	ftnEntry     = ftn + ".3.1" // index: FTN
	mapEntry     = ftn + ".5.1" // index: ifIndex, previous FTN, FTN
)

// Columns of mplsTunnelTable. The first four are its index and not accessible,
// so a RowPointer to a tunnel names column 5 (RFC 2579, RowPointer).
const (
	tunName        = 5
	tunIsIf        = 7
	tunRole        = 10
	tunSignalling  = 12
	tunSetupPrio   = 13
	tunHoldPrio    = 14
	tunSessionAttr = 15
	tunResource    = 17
	tunHopList     = 20
	tunPathInUse   = 21
	tunARHopList   = 22
	tunIncludeAny  = 24
	tunIncludeAll  = 25
	tunExcludeAny  = 26
	tunAdmin       = 34
	tunOper        = 35
	tunRowStatus   = 36
)

// Columns of mplsTunnelHopTable, mplsTunnelARHopTable and mplsTunnelResourceTable.
const (
	hopAddrType   = 4
	hopAddr       = 5
	hopPrefixLen  = 6
	hopType       = 10
	hopInclude    = 11
	hopOptionName = 12
	hopPathComp   = 13
	hopRowStatus  = 14

	arHopAddr = 4

	resMaxRate   = 2
	resMeanRate  = 3
	resMaxBurst  = 4
	resRowStatus = 9
)

// Columns of mplsFTNTable and mplsFTNMapTable.
const (
	ftnRowStatus  = 2
	ftnDescr      = 3
	ftnMask       = 4
	ftnAddrType   = 5
	ftnSrcMin     = 6
	ftnSrcMax     = 7
	ftnDstMin     = 8
	ftnDstMax     = 9
	ftnSrcPortMin = 10
	ftnSrcPortMax = 11
	ftnDstPortMin = 12
	ftnDstPortMax = 13
	ftnProtocol   = 14
	ftnDSCP       = 15
	ftnActionType = 16
	ftnPointer    = 17

	mapRowStatus = 4
)

const (
	ifName  = 1
	ifDescr = 2
)

// RowStatus (RFC 2579).
const (
	rowActive      = 1
	rowCreateAndGo = 4
	rowDestroy     = 6
)

// Bits of mplsFTNMask: BITS number from the left of the first octet.
const (
	maskSrcAddr  = 0x80 >> 0
	maskDstAddr  = 0x80 >> 1
	maskSrcPort  = 0x80 >> 2
	maskDstPort  = 0x80 >> 3
	maskProtocol = 0x80 >> 4
	maskDSCP     = 0x80 >> 5
)

// Other values.
const (
	truthTrue, truthFalse = 1, 2
	adminUp               = 1
	operUp                = 1
	roleHead              = 1
	signallingRSVP        = 2
	sessionRecordRoute    = 0x80 >> 4
	addrIPv4, addrIPv6    = 1, 2
	hopStrict, hopLoose   = 1, 2
	pathExplicit          = 2
	redirectTunnel        = 2
)

var rowStatusWords = map[int]string{1: "active", 2: "notInService", 3: "notReady", 4: "createAndGo", 5: "createAndWait", 6: "destroy"}

var operWords = map[int]string{1: "up", 2: "down", 3: "testing", 4: "unknown", 5: "dormant", 6: "notPresent", 7: "lowerLayerDown"}

var truthWords = map[int]string{truthTrue: "true", truthFalse: "false"}

// object gives the words for an OID and its values in messages to operators.
type object struct {
	oid   string
	name  string
	words map[int]string
}

var objects = func() map[string]object {
	all := []object{
		{sysUpTime, "sysUpTime.0", nil},
		{hopListIndexNext, "mplsTunnelHopListIndexNext.0", nil},
		{resIndexNext, "mplsTunnelResourceIndexNext.0", nil},
		{ftnIndexNext, "mplsFTNIndexNext.0", nil},
		{col(ifXEntry, ifName), "ifName", nil},
		{col(ifEntry, ifDescr), "ifDescr", nil},
		{col(tunnelEntry, tunName), "mplsTunnelName", nil},
		{col(tunnelEntry, tunIsIf), "mplsTunnelIsIf", truthWords},
		{col(tunnelEntry, tunRole), "mplsTunnelRole", map[int]string{1: "head"}},
		{col(tunnelEntry, tunSignalling), "mplsTunnelSignallingProto", map[int]string{2: "rsvp"}},
		{col(tunnelEntry, tunSetupPrio), "mplsTunnelSetupPrio", nil},
		{col(tunnelEntry, tunHoldPrio), "mplsTunnelHoldingPrio", nil},
		{col(tunnelEntry, tunSessionAttr), "mplsTunnelSessionAttributes", nil},
		{col(tunnelEntry, tunResource), "mplsTunnelResourcePointer", nil},
		{col(tunnelEntry, tunHopList), "mplsTunnelHopTableIndex", nil},
		{col(tunnelEntry, tunPathInUse), "mplsTunnelPathInUse", nil},
		{col(tunnelEntry, tunARHopList), "mplsTunnelARHopTableIndex", nil},
		{col(tunnelEntry, tunIncludeAny), "mplsTunnelIncludeAnyAffinity", nil},
		{col(tunnelEntry, tunIncludeAll), "mplsTunnelIncludeAllAffinity", nil},
		{col(tunnelEntry, tunExcludeAny), "mplsTunnelExcludeAnyAffinity", nil},
		{col(tunnelEntry, tunAdmin), "mplsTunnelAdminStatus", map[int]string{1: "up", 2: "down"}},
		{col(tunnelEntry, tunOper), "mplsTunnelOperStatus", operWords},
		{col(tunnelEntry, tunRowStatus), "mplsTunnelRowStatus", rowStatusWords},
		{col(hopEntry, hopAddrType), "mplsTunnelHopAddrType", map[int]string{1: "ipv4", 2: "ipv6"}},
		{col(hopEntry, hopAddr), "mplsTunnelHopIpAddr", nil},
		{col(hopEntry, hopPrefixLen), "mplsTunnelHopIpPrefixLen", nil},
		{col(hopEntry, hopType), "mplsTunnelHopType", map[int]string{1: "strict", 2: "loose"}},
		{col(hopEntry, hopInclude), "mplsTunnelHopInclude", truthWords},
		{col(hopEntry, hopOptionName), "mplsTunnelHopPathOptionName", nil},
		{col(hopEntry, hopPathComp), "mplsTunnelHopEntryPathComp", map[int]string{1: "dynamic", 2: "explicit"}},
		{col(hopEntry, hopRowStatus), "mplsTunnelHopRowStatus", rowStatusWords},
		{col(arHopEntry, arHopAddr), "mplsTunnelARHopIpAddr", nil},
		{col(resEntry, resMaxRate), "mplsTunnelResourceMaxRate", nil},
		{col(resEntry, resMeanRate), "mplsTunnelResourceMeanRate", nil},
		{col(resEntry, resMaxBurst), "mplsTunnelResourceMaxBurstSize", nil},
		{col(resEntry, resRowStatus), "mplsTunnelResourceRowStatus", rowStatusWords},
		{col(ftnEntry, ftnRowStatus), "mplsFTNRowStatus", rowStatusWords},
		{col(ftnEntry, ftnDescr), "mplsFTNDescr", nil},
		{col(ftnEntry, ftnMask), "mplsFTNMask", nil},
		{col(ftnEntry, ftnAddrType), "mplsFTNAddrType", map[int]string{1: "ipv4", 2: "ipv6"}},
		{col(ftnEntry, ftnSrcMin), "mplsFTNSourceAddrMin", nil},
		{col(ftnEntry, ftnSrcMax), "mplsFTNSourceAddrMax", nil},
		{col(ftnEntry, ftnDstMin), "mplsFTNDestAddrMin", nil},
		{col(ftnEntry, ftnDstMax), "mplsFTNDestAddrMax", nil},
		{col(ftnEntry, ftnSrcPortMin), "mplsFTNSourcePortMin", nil},
		{col(ftnEntry, ftnSrcPortMax), "mplsFTNSourcePortMax", nil},
		{col(ftnEntry, ftnDstPortMin), "mplsFTNDestPortMin", nil},
		{col(ftnEntry, ftnDstPortMax), "mplsFTNDestPortMax", nil},
		{col(ftnEntry, ftnProtocol), "mplsFTNProtocol", nil},
		{col(ftnEntry, ftnDSCP), "mplsFTNDscp", nil},
		{col(ftnEntry, ftnActionType), "mplsFTNActionType", map[int]string{1: "redirectLsp", 2: "redirectTunnel"}},
		{col(ftnEntry, ftnPointer), "mplsFTNActionPointer", nil},
		{col(mapEntry, mapRowStatus), "mplsFTNMapRowStatus", rowStatusWords},
	}
	m := make(map[string]object, len(all))
	for _, o := range all {
		m[o.oid] = o
	}
	return m
}()

func col(entry string, column int) string { return entry + "." + strconv.Itoa(column) }

// describe says an OID in words: "mplsTunnelRowStatus.50000.1.…".
func describe(oid string) (name string, words map[int]string) {
	for base := oid; base != ""; {
		if o, ok := objects[base]; ok {
			return o.name + oid[len(base):], o.words
		}
		dot := strings.LastIndexByte(base, '.')
		if dot < 0 {
			break
		}
		base = base[:dot]
	}
	return oid, nil
}

// describeSet says a varbind of a SET in words: "mplsTunnelRowStatus.5.1.1.2 =
// createAndGo(4)".
func describeSet(v gosnmp.SnmpPDU) string {
	name, words := describe(v.Name)
	switch x := v.Value.(type) {
	case int:
		if w, ok := words[x]; ok {
			return fmt.Sprintf("%s = %s(%d)", name, w, x)
		}
		return fmt.Sprintf("%s = %d", name, x)
	case string:
		if v.Type == gosnmp.ObjectIdentifier {
			x, _ = describe(x)
		}
		return name + " = " + x
	case []byte:
		return fmt.Sprintf("%s = 0x%x", name, x)
	default:
		return fmt.Sprintf("%s = %v", name, x)
	}
}

// Varbinds of a SET. Unsigned32 and Gauge32 are one on the wire (RFC 2578,
// section 7.1.11).
func intVar(entry string, column int, index string, v int) gosnmp.SnmpPDU {
	return gosnmp.SnmpPDU{Name: col(entry, column) + "." + index, Type: gosnmp.Integer, Value: v}
}

func uintVar(entry string, column int, index string, v uint32) gosnmp.SnmpPDU {
	return gosnmp.SnmpPDU{Name: col(entry, column) + "." + index, Type: gosnmp.Gauge32, Value: v}
}

func textVar(entry string, column int, index string, v string) gosnmp.SnmpPDU {
	return gosnmp.SnmpPDU{Name: col(entry, column) + "." + index, Type: gosnmp.OctetString, Value: v}
}

func octetVar(entry string, column int, index string, v ...byte) gosnmp.SnmpPDU {
	return gosnmp.SnmpPDU{Name: col(entry, column) + "." + index, Type: gosnmp.OctetString, Value: v}
}

func pointerVar(entry string, column int, index string, oid string) gosnmp.SnmpPDU {
	return gosnmp.SnmpPDU{Name: col(entry, column) + "." + index, Type: gosnmp.ObjectIdentifier, Value: oid}
}
