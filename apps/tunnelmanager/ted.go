package tunnelmanager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"mpbox/topology"
)

// TEDSource is where the TED in use comes from.
type TEDSource string

// The sources. The configured topology completes each of the others.
const (
	TEDNone TEDSource = "none"
	TEDFile TEDSource = "file"
	TEDPEs  TEDSource = "pes"
	TEDTold TEDSource = "told" // by SetTopology
)

func fileOrNone(file *topology.TED) TEDSource {
	if file == nil {
		return TEDNone
	}
	return TEDFile
}

// errEmptyTED refuses a TED on which everything would be taken for broken.
var errEmptyTED = errors.New("no link of it is up")

// SetTopology gives a TED that another source tells: from now on it is used in place of
// the PEs' views. nil has these used again; where no PE has one, the last TED stays.
// An error says why it is not used.
func (m *Manager) SetTopology(ctx context.Context, ted *topology.TED) (err error) {
	cerr := m.call(ctx, func(now time.Time) {
		m.told = ted
		err = m.mergeTED(now)
	})
	return errors.Join(cerr, err)
}

// mergeTED makes one TED of what was told, else of what the PEs tell, and has the
// configured one complete it.
func (m *Manager) mergeTED(now time.Time) error {
	views, from := []*topology.TED{m.told}, TEDTold
	if m.told == nil {
		from = TEDPEs
		for _, name := range sortedKeys(m.pes) {
			views = append(views, m.pes[name].ted)
		}
	}
	if !slices.ContainsFunc(views, func(t *topology.TED) bool { return t != nil }) {
		return nil // nobody tells one: the last one stays
	}
	ted, err := topology.Merge(views...)
	if file := m.cfg.Topology; err == nil && file != nil {
		var unused []string
		ted, unused = topology.Complete(ted, file)
		m.tellUnused(now, unused)
	}
	if err == nil && !anyUp(ted) {
		err = errEmptyTED
	}
	if err != nil {
		m.tedRefused = true
		m.log.Warn("topology refused; the last good one stays in use", zap.String("source", string(from)), zap.Error(err))
		return fmt.Errorf("take over topology: %w", err)
	}
	if m.tedRefused { // what failed meanwhile may come up now, though the TED is as before
		m.tedRefused, m.dirty = false, true
		m.forgetFailures()
	}
	if from != m.tedFrom {
		m.record(now, Change{Action: "topology", Subject: "source", Detail: fmt.Sprintf("%s -> %s", m.tedFrom, from), Result: ResultOK})
		m.tedFrom = from
	}
	if m.ted != nil {
		diff := topology.Diff(m.ted, ted)
		if len(diff) == 0 {
			return nil
		}
		if topology.Reshaped(m.ted, ted) {
			m.forgetFailures()
		}
		m.log.Info("topology changed", zap.Strings("diff", diff[:min(len(diff), 20)]), zap.Int("changes", len(diff)))
		for _, d := range diff[:min(len(diff), 20)] {
			m.record(now, Change{Action: "topology", Subject: d, Result: ResultOK})
		}
		ted = ted.WithVersion(max(ted.Version(), m.ted.Version()+1)) // sources come and go
	}
	m.ted, m.tedAt, m.dirty = ted, now, true
	return nil
}

// tellUnused tells of links in the topology file that are not in the network, or no
// longer, once.
func (m *Manager) tellUnused(now time.Time, unused []string) {
	before := m.unused
	m.unused = unused
	for _, l := range unused {
		if !slices.Contains(before, l) {
			m.log.Warn("link of the topology file is not in the network, or may be one of several there", zap.String("link", l))
			m.record(now, Change{Action: "topology", Subject: "topology.file: link " + l, Result: ResultSkipped,
				Detail: "no router tells it, or one of several may be meant", Remedy: "write its ends, and its interface addresses, as the routers have them"})
		}
	}
}

func anyUp(ted *topology.TED) bool {
	return slices.ContainsFunc(ted.Links(), func(l topology.Link) bool { return !l.Down })
}
