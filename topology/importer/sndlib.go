package importer

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"mpbox/topology"
)

// sndLink is a link of SNDlib, from the native or the XML format.
type sndLink struct {
	id, source, target string
	capacity           float64 // installed already, else the first that may be; Mbit/s
	routingCost        float64
	where              string
}

// sndlib builds the TED: links are undirected, the TE metric is the routing cost,
// or 1 where none of the links has one.
func (p *parser) sndlib(nodes []rawNode, links []sndLink, delay map[[2]string]time.Duration) (*topology.TED, error) {
	b := &topology.Builder{}
	index := make(map[string]int, len(nodes))
	for _, n := range nodes {
		if _, dup := index[n.id]; dup {
			return nil, p.fail(n.where, "node %q is given twice", n.id)
		}
		index[n.id] = b.AddNode(topology.Node{Name: n.id})
	}
	costs := false
	for _, l := range links {
		costs = costs || l.routingCost != 0 // a negative one is refused below
	}
	for _, l := range links {
		from, ok := index[l.source]
		if !ok {
			return nil, p.fail(l.where, "link %s: its source %q is no node", l.id, l.source)
		}
		to, ok := index[l.target]
		if !ok {
			return nil, p.fail(l.where, "link %s: its target %q is no node", l.id, l.target)
		}
		t := topology.Link{Name: l.id, From: from, To: to, TEMetric: 1, Delay: delay[[2]string{l.source, l.target}]}
		if costs {
			m, err := parseMetric(strconv.FormatFloat(l.routingCost, 'f', -1, 64))
			if err != nil {
				return nil, p.fail(l.where, "link %s: routing cost %w", l.id, err)
			}
			t.TEMetric = m
		}
		t.IGPMetric = t.TEMetric
		setBandwidth(&t, l.capacity*1e6)
		back := t
		back.From, back.To = to, from
		b.AddPair(t, back)
	}
	t, err := b.Build()
	if err != nil {
		return nil, p.fail("", "%w", err)
	}
	return t, nil
}

// sndlibNative reads SNDlib's native network format, version 1.0:
//
//	NODES ( id [( x y )] … )
//	LINKS ( id ( source target ) capacity cost routing_cost setup_cost ( {capacity cost}* ) … )
func (p *parser) sndlibNative(data []byte) (*topology.TED, error) {
	first, rest, _ := strings.Cut(latin1(data), "\n")
	if !strings.Contains(strings.ReplaceAll(first, " ", ""), "type:network") {
		return nil, p.fail("1", "%q: want a network file (type: network)", strings.TrimSpace(first))
	}
	lx := &sndLexer{p: p, lines: strings.Split(rest, "\n"), line: 1}
	var nodes []rawNode
	var links []sndLink
	sections := map[string]bool{}
	for {
		section, ok := lx.next()
		if !ok {
			break
		}
		if sections[section] {
			return nil, p.fail(lx.where(), "section %s is given twice", section)
		}
		sections[section] = true
		if err := lx.want("("); err != nil {
			return nil, err
		}
		var err error
		switch section {
		case "NODES":
			nodes, err = lx.nodes()
		case "LINKS":
			links, err = lx.links()
		default:
			err = lx.skip()
		}
		if err != nil {
			return nil, err
		}
	}
	if !sections["NODES"] || !sections["LINKS"] {
		return nil, p.fail("", "want the sections NODES and LINKS")
	}
	return p.sndlib(nodes, links, nil)
}

// sndLexer splits lines into words and brackets.
type sndLexer struct {
	p     *parser
	lines []string
	line  int
	words []string
	back  bool // the last word is to be given again
	last  string
}

func (lx *sndLexer) where() string { return strconv.Itoa(lx.line) }

func (lx *sndLexer) next() (string, bool) {
	if lx.back {
		lx.back = false
		return lx.last, true
	}
	for len(lx.words) == 0 {
		if len(lx.lines) == 0 {
			return "", false
		}
		text, _, _ := strings.Cut(lx.lines[0], "#")
		lx.lines = lx.lines[1:]
		lx.line++
		text = strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text)
		lx.words = strings.Fields(text)
	}
	lx.last, lx.words = lx.words[0], lx.words[1:]
	return lx.last, true
}

func (lx *sndLexer) word() (string, error) {
	w, ok := lx.next()
	if !ok {
		return "", lx.p.fail(lx.where(), "it ends within a section")
	}
	return w, nil
}

func (lx *sndLexer) want(what string) error {
	w, err := lx.word()
	if err == nil && w != what {
		err = lx.p.fail(lx.where(), "%q: want %q", w, what)
	}
	return err
}

// skip reads up to the bracket that closes the one before.
func (lx *sndLexer) skip() error {
	for depth := 1; depth > 0; {
		w, err := lx.word()
		if err != nil {
			return err
		}
		switch w {
		case "(":
			depth++
		case ")":
			depth--
		}
	}
	return nil
}

func (lx *sndLexer) nodes() (nodes []rawNode, err error) {
	for {
		w, err := lx.word()
		switch {
		case err != nil:
			return nil, err
		case w == ")":
			return nodes, nil
		case w == "(": // coordinates and options of the node before
			if len(nodes) == 0 {
				return nil, lx.p.fail(lx.where(), "want a node")
			}
			if err := lx.skip(); err != nil {
				return nil, err
			}
		default:
			nodes = append(nodes, rawNode{id: w, where: lx.where()})
		}
	}
}

func (lx *sndLexer) links() (links []sndLink, err error) {
	for {
		w, err := lx.word()
		if err != nil {
			return nil, err
		}
		if w == ")" {
			return links, nil
		}
		l := sndLink{id: w, where: lx.where()}
		if l.id == "(" {
			return nil, lx.p.fail(l.where, "want the name of a link")
		}
		if err := lx.ends(&l); err != nil {
			return nil, err
		}
		if err := lx.costs(&l); err != nil {
			return nil, err
		}
		links = append(links, l)
	}
}

func (lx *sndLexer) ends(l *sndLink) error {
	if err := lx.want("("); err != nil {
		return err
	}
	for _, end := range []*string{&l.source, &l.target} {
		w, err := lx.word()
		if err != nil {
			return err
		}
		if w == ")" || w == "(" {
			return lx.p.fail(l.where, "link %s: want ( source target )", l.id)
		}
		*end = w
	}
	return lx.want(")")
}

// costs reads the numbers and the modules after a link's ends.
func (lx *sndLexer) costs(l *sndLink) error {
	numbers := []*float64{&l.capacity, nil, &l.routingCost, nil}
	for i := 0; ; i++ {
		w, err := lx.word()
		if err != nil {
			return err
		}
		if w == "(" {
			return lx.modules(l)
		}
		if i >= len(numbers) {
			return lx.p.fail(l.where, "link %s: %q: want ( modules )", l.id, w)
		}
		v, err := number(w)
		if err != nil {
			return lx.p.fail(l.where, "link %s: %w", l.id, err)
		}
		if numbers[i] != nil {
			*numbers[i] = v
		}
	}
}

// modules reads pairs of capacity and cost, and skips options that follow.
func (lx *sndLexer) modules(l *sndLink) error {
	for i := 0; ; i++ {
		w, err := lx.word()
		if err != nil {
			return err
		}
		if w == ")" {
			break
		}
		v, err := number(w)
		if err != nil {
			return lx.p.fail(l.where, "link %s: module: %w", l.id, err)
		}
		if i == 0 && l.capacity == 0 {
			l.capacity = max(0, v)
		}
	}
	for {
		w, err := lx.word()
		if err != nil {
			return err
		}
		if w != "(" {
			lx.back = true
			return nil
		}
		if err := lx.skip(); err != nil {
			return err
		}
	}
}

// number reads a number; UNLIMITED is 0, unknown.
func number(s string) (float64, error) {
	if s == "UNLIMITED" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v != v || v > 1e12 || v < -1e12 {
		return 0, fmt.Errorf("%q: want a number", s)
	}
	return v, nil
}

// sndlibXML reads SNDlib's XML network format.
func (p *parser) sndlibXML(data []byte) (*topology.TED, error) {
	var doc struct {
		Structure struct {
			Nodes struct {
				Kind string `xml:"coordinatesType,attr"`
				Node []struct {
					ID string `xml:"id,attr"`
					X  string `xml:"coordinates>x"`
					Y  string `xml:"coordinates>y"`
				} `xml:"node"`
			} `xml:"nodes"`
			Links []struct {
				ID       string   `xml:"id,attr"`
				Source   string   `xml:"source"`
				Target   string   `xml:"target"`
				Capacity string   `xml:"preInstalledModule>capacity"`
				Routing  string   `xml:"routingCost"`
				Modules  []string `xml:"additionalModules>addModule>capacity"`
			} `xml:"links>link"`
		} `xml:"networkStructure"`
	}
	if err := newXML(data).Decode(&doc); err != nil {
		return nil, p.xmlError(err)
	}
	type spot struct{ lon, lat float64 }
	spots := map[string]spot{}
	var nodes []rawNode
	for _, n := range doc.Structure.Nodes.Node {
		if n.ID == "" {
			return nil, p.fail("", "a <node> has no id")
		}
		nodes = append(nodes, rawNode{id: n.ID})
		lon, err1 := strconv.ParseFloat(strings.TrimSpace(n.X), 64)
		lat, err2 := strconv.ParseFloat(strings.TrimSpace(n.Y), 64)
		if err1 == nil && err2 == nil && doc.Structure.Nodes.Kind == "geographical" {
			spots[n.ID] = spot{lon, lat}
		}
	}
	delays := map[[2]string]time.Duration{}
	var links []sndLink
	for i, x := range doc.Structure.Links {
		l := sndLink{id: x.ID, source: strings.TrimSpace(x.Source), target: strings.TrimSpace(x.Target)}
		if l.id == "" {
			return nil, p.fail("", "link %d: it has no id", i+1)
		}
		capacity := x.Capacity
		if capacity == "" && len(x.Modules) > 0 {
			capacity = x.Modules[0]
		}
		for _, f := range []struct {
			text string
			to   *float64
		}{{capacity, &l.capacity}, {x.Routing, &l.routingCost}} {
			if f.text == "" {
				continue
			}
			v, err := number(strings.TrimSpace(f.text))
			if err != nil {
				return nil, p.fail("", "link %s: %w", l.id, err)
			}
			*f.to = v
		}
		a, ok1 := spots[l.source]
		b, ok2 := spots[l.target]
		if ok1 && ok2 {
			delays[[2]string{l.source, l.target}] = distanceDelay(greatCircle(a.lon, a.lat, b.lon, b.lat))
		}
		links = append(links, l)
	}
	return p.sndlib(nodes, links, delays)
}
