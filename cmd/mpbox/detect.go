package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mpbox/apps/detector"
	"mpbox/southbound/capture"
	"mpbox/southbound/packet"
)

// What `mpbox detect --json` prints. Scripts rely on these names.
type detectReport struct {
	Connections []detectConnection `json:"connections"`
	Orphans     []detectOrphan     `json:"orphans"`
	Counters    detectCounters     `json:"counters"`

	unlisted uint64 // subflows that were counted and dropped
}

type detectConnection struct {
	Token    string          `json:"token"` // the server's, 8 hex digits
	Version  int             `json:"version"`
	Client   string          `json:"client"`
	Server   string          `json:"server"`
	Subflows []detectSubflow `json:"subflows"`
}

type detectOrphan struct {
	Token    string          `json:"token"`
	Subflows []detectSubflow `json:"subflows"`
}

type detectSubflow struct {
	Kind      string   `json:"kind"` // initial or join
	Client    string   `json:"client"`
	Server    string   `json:"server"`
	State     string   `json:"state"`    // syn, established, closed or failed
	Verified  *bool    `json:"verified"` // null: not enough was seen
	Backup    bool     `json:"backup"`
	AddressID int      `json:"address_id"`
	Vantage   []string `json:"vantage"`
	// Translated: the same subflow as another one, behind a NAT.
	Translated bool `json:"translated,omitempty"`
}

type detectCounters struct {
	Packets      uint64 `json:"packets"`
	TCP          uint64 `json:"tcp"`
	MPCapableSYN uint64 `json:"mp_capable_syn"`
	MPJoinSYN    uint64 `json:"mp_join_syn"`
	Malformed    uint64 `json:"malformed"`
	// Not contractual: what else was seen.
	Truncated     uint64 `json:"truncated"`
	Fragments     uint64 `json:"fragments"`
	Fallback      uint64 `json:"fallback"`
	JoinsMatched  uint64 `json:"joins_matched"`
	JoinsOrphaned uint64 `json:"joins_orphaned"`
	JoinsVerified uint64 `json:"joins_verified"`
	JoinsForged   uint64 `json:"joins_forged"`
}

func newDetectCmd() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "detect FILE...",
		Short: "Find MPTCP connections and their subflows in captures",
		Long: `Runs the detector on capture files (pcap or pcapng, also gzipped; Ethernet, Linux
cooked, raw IP, PPP; VLAN, QinQ, MPLS, IPv4, IPv6; ERSPAN). Each file is one vantage
point, named by its base name without extension; packets of all the files are merged
by time. The file name - reads standard input.

A connection is listed when its server's key was seen. Joins whose token belongs
to no such connection are listed as orphans.`,
		Example: `  mpbox detect client.pcap server.pcap
  mpbox detect --json edge1.pcapng | jq '.connections[].subflows[].state'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := out.isJSON()
			if err != nil {
				return err
			}
			report, warnings, err := detect(args, cmd.InOrStdin())
			if err != nil {
				return err
			}
			for _, w := range warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %v; the packets before it are counted\n", w)
			}
			if report.unlisted > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %d subflows are counted and not listed: their connection or token has more than %d, or there are too many in all\n", report.unlisted, maxListed)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), report)
			}
			return report.print(cmd.OutOrStdout())
		},
	}
	out.addFlags(cmd)
	return cmd
}

// maxListed bounds the subflows of a connection: each new one is compared with them.
const maxListed = 4096

// detect runs the detector on files.
func detect(paths []string, stdin io.Reader) (report *detectReport, warnings []error, err error) {
	var files []*capture.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	cfg := detector.Config{
		Keep: true, MaxConnections: 50e6, MaxSubflows: 100e6, MaxHalfOpen: 10e6, MaxOrphans: 10e6, MaxPendingMACs: 10e6,
		MaxSubflowsPerConnection: maxListed, HalfOpenTimeout: 5 * time.Minute,
	}
	for _, p := range paths {
		f, err := openCapture(p, stdin)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, f)
		cfg.Places = append(cfg.Places, detector.Place{Name: f.Name})
	}
	t := detector.New(cfg)
	seen := vantages{names: make([]string, len(files)), of: map[detector.SubflowID][]uint64{}}
	for i, f := range files {
		seen.names[i] = f.Name
	}
	m := capture.NewMerge(files...)
	var v packet.View
	var last, expired int64
	for {
		p, err := m.Next()
		if err != nil {
			break // io.EOF
		}
		last = max(last, p.At)
		if last-expired > 1e9 {
			expired = last
			t.Expire(last)
		}
		verdict := v.ParseLink(p.Link, p.Data)
		if verdict == packet.Other && p.Link == packet.LinkEthernet {
			// Perhaps what a remote mirror sent.
			if m, ok := capture.Decapsulate(p.Data); ok {
				verdict = v.Parse(m.Frame)
			}
		}
		if verdict != packet.TCP {
			t.Reject(&v, verdict)
			continue
		}
		if id := t.Observe(p.At, detector.PlaceID(p.File), &v); id != 0 {
			seen.add(id, p.File)
		}
	}
	t.Finish(last)
	return newDetectReport(t, &seen), m.Errors, nil
}

func openCapture(path string, stdin io.Reader) (*capture.File, error) {
	if path == "-" {
		return capture.NewFile("stdin", stdin)
	}
	return capture.Open(path)
}

// vantages remembers which files saw a subflow.
type vantages struct {
	names []string
	of    map[detector.SubflowID][]uint64
}

func (v *vantages) add(id detector.SubflowID, file int) {
	bits := v.of[id]
	if bits == nil {
		bits = make([]uint64, (len(v.names)+63)/64)
		v.of[id] = bits
	}
	bits[file/64] |= 1 << (file % 64)
}

func (v *vantages) list(id detector.SubflowID) []string {
	set := map[string]bool{}
	for i, name := range v.names {
		if bits := v.of[id]; bits != nil && bits[i/64]&(1<<(i%64)) != 0 {
			set[name] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func newDetectReport(t *detector.Tracker, seen *vantages) *detectReport {
	r := &detectReport{Connections: []detectConnection{}, Orphans: []detectOrphan{}}
	for after, more := detector.ConnID(0), true; more; {
		var page []detector.Connection
		page, after, more = t.Connections(after, 1000, detector.Filter{})
		for i := range page {
			c := &page[i]
			d := detectConnection{
				Token: fmt.Sprintf("%08x", c.Token), Version: int(c.Version),
				Client: c.Client.String(), Server: c.Server.String(), Subflows: []detectSubflow{},
			}
			for j := range c.Subflows {
				d.Subflows = append(d.Subflows, newDetectSubflow(&c.Subflows[j], seen))
			}
			r.Connections = append(r.Connections, d)
		}
	}
	index := map[uint32]int{}
	orphans := 0
	for after, more := detector.SubflowID(0), true; more; {
		var page []detector.Orphan
		page, after, more = t.Orphans(after, 1000, detector.Filter{})
		orphans += len(page)
		for j := range page {
			o := &page[j]
			i, ok := index[o.Token]
			if !ok {
				i = len(r.Orphans)
				index[o.Token] = i
				r.Orphans = append(r.Orphans, detectOrphan{Token: fmt.Sprintf("%08x", o.Token)})
			}
			r.Orphans[i].Subflows = append(r.Orphans[i].Subflows, newDetectSubflow(&o.Subflow, seen))
		}
	}
	s := t.Stats()
	r.unlisted = s.EvictedHalfOpen + s.EvictedClosed + s.EvictedConnections + s.RefusedConnections + s.RefusedJoins + s.RefusedHandshakes +
		max(s.EvictedOrphans, s.JoinsOrphaned-min(s.JoinsOrphaned, uint64(orphans)))
	r.Counters = detectCounters{
		Packets: s.Packets, TCP: s.TCP, MPCapableSYN: s.CapableSYN, MPJoinSYN: s.JoinSYN, Malformed: s.Malformed,
		Truncated: s.Truncated, Fragments: s.Fragments, Fallback: s.Fallback, JoinsMatched: s.JoinsMatched,
		JoinsOrphaned: s.JoinsOrphaned, JoinsVerified: s.JoinsVerified, JoinsForged: s.JoinsForged,
	}
	return r
}

func newDetectSubflow(s *detector.Subflow, seen *vantages) detectSubflow {
	d := detectSubflow{
		Kind: "initial", Client: s.Client.String(), Server: s.Server.String(), State: s.State.String(),
		Backup: s.Backup, AddressID: int(s.AddressID), Vantage: seen.list(s.ID), Translated: s.Alias,
	}
	if s.Join {
		d.Kind = "join"
	}
	switch yes, no := true, false; s.Verified {
	case detector.Verified:
		d.Verified = &yes
	case detector.Forged:
		d.Verified = &no
	}
	return d
}

// print writes the report for people.
func (r *detectReport) print(w io.Writer) error {
	var rows [][]string
	add := func(token, version string, subflows []detectSubflow) {
		for i := range subflows {
			s := &subflows[i]
			verified := "?"
			if s.Verified != nil {
				verified = strconv.FormatBool(*s.Verified)
			}
			backup := ""
			if s.Backup {
				backup = "backup"
			}
			rows = append(rows, []string{token, version, s.Kind, s.Client, s.Server, s.State, verified, backup,
				strconv.Itoa(s.AddressID), strings.Join(s.Vantage, ",")})
		}
	}
	for i := range r.Connections {
		c := &r.Connections[i]
		add(c.Token, strconv.Itoa(c.Version), c.Subflows)
	}
	for i := range r.Orphans {
		add(r.Orphans[i].Token+" (orphan)", "", r.Orphans[i].Subflows)
	}
	if err := printTable(w, []string{"token", "v", "kind", "client", "server", "state", "verified", "backup", "id", "seen at"}, rows); err != nil {
		return err
	}
	c := &r.Counters
	_, err := fmt.Fprintf(w, "\n%d connections, %d orphan tokens; %d packets, %d TCP, %d MP_CAPABLE SYN, %d MP_JOIN SYN, %d malformed\n",
		len(r.Connections), len(r.Orphans), c.Packets, c.TCP, c.MPCapableSYN, c.MPJoinSYN, c.Malformed)
	return err
}
