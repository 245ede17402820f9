package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// What each PE's LSPs reserve is known to all routers of the network: the IGP
// floods the unreserved bandwidth of links (RFC 3630, section 2.5.8). Here each
// PE process writes its part to a file in the lab's folder and reads the others'.

// bookings are reservations in kbit/s by edge name and priority.
type bookings map[string][8]uint32

// floodEvery is how often the others' files are looked at.
const floodEvery = 500 * time.Millisecond

func (t *TED) edgeName(e int) string { return t.Edges[e].Link + " " + t.Nodes[t.Edges[e].From].Name }

func (s *signaller) floodFile(pe string) string {
	return filepath.Join(s.node.RunDir, pe+".rsvp.json")
}

// own counts what the LSPs that begin here reserve.
func (s *signaller) own() bookings {
	b := bookings{}
	for _, l := range s.lsps {
		if l.cur == nil || l.cur.Kbps == 0 {
			continue
		}
		for _, e := range l.cur.edges {
			sum := b[s.ted.edgeName(e)]
			for p := l.cur.Hold; p < 8; p++ {
				sum[p] += l.cur.Kbps
			}
			b[s.ted.edgeName(e)] = sum
		}
	}
	return b
}

// flood tells the others what is reserved by this PE, if that changed.
func (s *signaller) flood() error {
	own := s.own()
	if s.node.RunDir == "" || s.flooded != nil && maps.Equal(own, s.flooded) {
		return nil
	}
	b, err := json.Marshal(own)
	if err != nil {
		return fmt.Errorf("flood reservations: %w", err)
	}
	file := s.floodFile(s.node.Name)
	if err := errors.Join(os.WriteFile(file+".tmp", b, 0o600), os.Rename(file+".tmp", file)); err != nil {
		return fmt.Errorf("flood reservations: %w", err)
	}
	s.flooded = own
	return nil
}

// hear reads what the others reserve; true if it changed.
func (s *signaller) hear() (bool, error) {
	changed := false
	for _, pe := range s.egresses {
		st, err := os.Stat(s.floodFile(pe))
		if errors.Is(err, fs.ErrNotExist) || err == nil && st.ModTime().Equal(s.heardAt[pe]) {
			continue
		}
		b, err := os.ReadFile(s.floodFile(pe))
		if err != nil {
			return changed, fmt.Errorf("read reservations of %s: %w", pe, err)
		}
		var theirs bookings
		if err := json.Unmarshal(b, &theirs); err != nil {
			return changed, fmt.Errorf("read reservations of %s: %w", pe, err)
		}
		s.heardAt[pe] = st.ModTime()
		if !maps.Equal(theirs, s.heard[pe]) {
			s.heard[pe], changed = theirs, true
		}
	}
	if changed {
		s.reserved = nil
	}
	return changed, nil
}
