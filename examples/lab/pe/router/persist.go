package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"mpbox/examples/lab/fabric"
)

// state is the state file: the configuration, and what of the runtime has to
// survive so that a restart finds its own LSPs in the data plane.
type state struct {
	Config *Config `json:"config"`
	runtime
}

type runtime struct {
	IDs  ids                   `json:"ids"`
	LSPs map[TunnelID]savedLSP `json:"lsps"`
}

type savedLSP struct {
	Path        *instance     `json:"path"`
	Created     time.Time     `json:"created"`
	UpTotal     time.Duration `json:"up_total"`
	Transitions uint32        `json:"transitions"`
	Changes     uint32        `json:"changes"`
	ChangedAt   time.Time     `json:"changed_at"`
}

// loadState reads the state file; without one the router is new.
func loadState(node fabric.Node) (state, error) {
	st := state{Config: factoryConfig(node), runtime: runtime{IDs: ids{Entries: map[string]uint32{}}}}
	b, err := os.ReadFile(node.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return st, fmt.Errorf("read router state: %w", err)
	}
	st.Config = NewConfig()
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("read router state %s (remove it to start afresh): %w", node.StateFile, err)
	}
	if st.IDs.Entries == nil {
		st.IDs.Entries = map[string]uint32{}
	}
	return st, nil
}

// factoryConfig has the operator's own tunnels: a dynamic one to each other PE,
// announced to routing, on which everything rides that nothing else claims.
func factoryConfig(node fabric.Node) *Config {
	c := NewConfig()
	n := uint32(0)
	for _, r := range node.Nodes {
		if !r.PE || r.Name == node.Name {
			continue
		}
		n++
		t := NewTunnelTE()
		t.Unnumbered, t.Signalled = "Loopback0", fmt.Sprintf("default_%s_%s", node.Name, r.Name)
		t.Destination, t.Autoroute, t.RecordRoute = r.RouterID, true, true
		t.AffinitySet, t.Mask = true, 0 // links of any colour
		t.Options[10] = PathOption{}
		c.CLI.Tunnels[n] = t
	}
	return c
}

// restore takes over the LSPs that were up. Links are looked at in the first pass.
func (s *signaller) restore(st state) {
	heads := map[TunnelID]Head{}
	for _, h := range st.Config.Heads(s.node.Name) {
		heads[h.ID] = h
	}
	for id, v := range st.LSPs {
		if v.Path == nil {
			continue
		}
		edges, ok := s.edges(v.Path.Path)
		if h, wanted := heads[id]; ok && wanted {
			v.Path.edges = edges
			s.lsps[id] = &lsp{
				head: h, cur: v.Path, created: v.Created, upTotal: v.UpTotal,
				transitions: v.Transitions, changes: v.Changes, changedAt: v.ChangedAt,
			}
		}
	}
}

// edges finds a path's links in the TED.
func (s *signaller) edges(p fabric.Path) ([]int, bool) {
	at, ok := s.ted.byName[s.node.Name], len(p.Hops) > 0
	var out []int
	for _, h := range p.Hops {
		i := slices.IndexFunc(s.ted.Out[at], func(e int) bool { return s.ted.Edges[e].Link == h.Link })
		if i < 0 {
			return nil, false
		}
		e := s.ted.Out[at][i]
		out, at = append(out, e), s.ted.Edges[e].To
	}
	return out, ok
}

func (s *signaller) runtime() runtime {
	rt := runtime{IDs: s.ids, LSPs: map[TunnelID]savedLSP{}}
	rt.IDs.Entries = maps.Clone(s.ids.Entries)
	for id, l := range s.lsps {
		if l.cur != nil {
			rt.LSPs[id] = savedLSP{l.cur, l.created, l.upTotal, l.transitions, l.changes, l.changedAt}
		}
	}
	return rt
}

// saveRuntime is the signaller's way to the state file.
func (r *Router) saveRuntime() error {
	rt := r.sig.runtime()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runtime = rt
	return r.saveLocked(r.config)
}

// saveLocked writes the state file if it changed; r.mu is held. It replaces the
// file in one step: a process killed here leaves the old one or the new one.
func (r *Router) saveLocked(c *Config) error {
	b, err := json.Marshal(state{Config: c, runtime: r.runtime})
	if err != nil {
		return fmt.Errorf("write router state: %w", err)
	}
	if r.node.StateFile == "" || bytes.Equal(b, r.saved) {
		return nil
	}
	tmp := r.node.StateFile + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write router state: %w", err)
	}
	if err := os.Rename(tmp, r.node.StateFile); err != nil {
		return fmt.Errorf("write router state: %w", err)
	}
	r.saved = b
	return nil
}
