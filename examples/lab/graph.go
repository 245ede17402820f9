package lab

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Graph draws a network: dot (Graphviz), mermaid or svg.
func (n *Network) Graph(format string) (string, error) {
	switch format {
	case "dot":
		return n.dot(), nil
	case "mermaid":
		return n.mermaid(), nil
	case "svg":
		return n.svg(), nil
	}
	return "", OptionError{fmt.Sprintf("format %q: want dot, mermaid or svg", format)}
}

// edge of a drawing: a core link, or a host's attachment.
type edge struct {
	a, b, label string
	access      bool
}

func (n *Network) edges() []edge {
	var es []edge
	for _, l := range n.Links {
		label := fmt.Sprintf("%d, %s", l.Metric, l.Bandwidth)
		if len(l.SRLGs) > 0 {
			label += fmt.Sprintf(", srlg %s", strings.Trim(fmt.Sprint(l.SRLGs), "[]"))
		}
		es = append(es, edge{a: l.A, b: l.B, label: label})
	}
	for _, h := range n.Lab.Hosts {
		for _, a := range h.Attach {
			es = append(es, edge{a: h.Name, b: a.PE, label: h.VPN, access: true})
		}
	}
	return es
}

// String writes a rate as topology files do.
func (r Rate) String() string {
	for _, u := range []struct {
		name string
		size Rate
	}{{"G", 1e9}, {"M", 1e6}, {"k", 1e3}} {
		if r >= u.size && r%(u.size/10) == 0 {
			return fmt.Sprintf("%g%s", float64(r)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d", uint64(r))
}

func (n *Network) dot() string {
	var b strings.Builder
	fmt.Fprintf(&b, "graph %q {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n", n.Name)
	for _, r := range n.Nodes {
		shape := "circle"
		if n.isPE(r.Name) {
			shape = "doublecircle"
		}
		fmt.Fprintf(&b, "  %q [shape=%s, tooltip=%q];\n", r.Name, shape, r.RouterID)
	}
	for _, h := range n.Lab.Hosts {
		fmt.Fprintf(&b, "  %q [shape=box];\n", h.Name)
	}
	for _, e := range n.edges() {
		style := ""
		if e.access {
			style = ", style=dashed"
		}
		fmt.Fprintf(&b, "  %q -- %q [label=%q%s];\n", e.a, e.b, e.label, style)
	}
	return b.String() + "}\n"
}

func (n *Network) mermaid() string {
	var b strings.Builder
	b.WriteString("graph LR\n")
	for _, r := range n.Nodes {
		if n.isPE(r.Name) {
			fmt.Fprintf(&b, "  %s(((%s)))\n", r.Name, r.Name)
		} else {
			fmt.Fprintf(&b, "  %s((%s))\n", r.Name, r.Name)
		}
	}
	for _, h := range n.Lab.Hosts {
		fmt.Fprintf(&b, "  %s[%s]\n", h.Name, h.Name)
	}
	for _, e := range n.edges() {
		line := "---"
		if e.access {
			line = "-.-"
		}
		fmt.Fprintf(&b, "  %s %s|\"%s\"| %s\n", e.a, line, e.label, e.b)
	}
	return b.String()
}

type point struct{ x, y float64 }

// layers puts every node into a column by its hops from the client, and within
// a column in the order of the file.
func (n *Network) layers() map[string]point {
	next := map[string][]string{}
	for _, e := range n.edges() {
		next[e.a] = append(next[e.a], e.b)
		next[e.b] = append(next[e.b], e.a)
	}
	column := map[string]int{n.Lab.Client: 0}
	for queue := []string{n.Lab.Client}; len(queue) > 0; queue = queue[1:] {
		for _, v := range next[queue[0]] {
			if _, seen := column[v]; !seen {
				column[v] = column[queue[0]] + 1
				queue = append(queue, v)
			}
		}
	}
	last := 0
	for _, c := range column {
		last = max(last, c)
	}
	// Other hosts sit beside their PE, on the outside.
	for _, h := range n.Lab.Hosts {
		pe := column[h.Attach[0].PE]
		if h.Name != n.Lab.Client && pe < (last+1)/2 {
			column[h.Name] = max(pe-1, 0)
		}
	}
	rows := make([][]string, last+1)
	place := func(name string) {
		rows[column[name]] = append(rows[column[name]], name)
	}
	for _, r := range n.Nodes {
		place(r.Name)
	}
	for _, h := range n.Lab.Hosts {
		place(h.Name)
	}
	tallest := 1
	for _, r := range rows {
		tallest = max(tallest, len(r))
	}
	at := map[string]point{}
	for c, r := range rows {
		for i, name := range r {
			at[name] = point{
				x: 80 + float64(c)*190,
				y: 60 + (float64(tallest-len(r))/2+float64(i))*110,
			}
		}
	}
	return at
}

// svg draws without any tool: columns by hops from the client.
func (n *Network) svg() string {
	at := n.layers()
	var w, h float64
	for _, p := range at {
		w, h = max(w, p.x+80), max(h, p.y+60)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" font-family="sans-serif" font-size="13" text-anchor="middle">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n", n.Name)
	for _, e := range n.edges() {
		n.svgEdge(&b, e, at)
	}
	for _, r := range n.Nodes {
		fill := "#dbe9f6"
		if n.isPE(r.Name) {
			fill = "#9fc5e8"
		}
		p := at[r.Name]
		fmt.Fprintf(&b, `<circle cx="%g" cy="%g" r="24" fill="%s" stroke="#1f4e79"/><text x="%g" y="%g">%s</text>`+"\n", p.x, p.y, fill, p.x, p.y+4, r.Name)
	}
	for _, host := range n.Lab.Hosts {
		p := at[host.Name]
		fmt.Fprintf(&b, `<rect x="%g" y="%g" width="76" height="34" rx="4" fill="#fff2cc" stroke="#7f6000"/><text x="%g" y="%g">%s</text>`+"\n", p.x-38, p.y-17, p.x, p.y+4, host.Name)
	}
	return b.String() + "</svg>\n"
}

// svgEdge draws a line, bent where it would pass through a node of its column
// or row.
func (n *Network) svgEdge(b *strings.Builder, e edge, at map[string]point) {
	p, q := at[e.a], at[e.b]
	mid := point{(p.x + q.x) / 2, (p.y + q.y) / 2}
	var others []point
	for name, o := range at {
		if name != e.a && name != e.b {
			others = append(others, o)
		}
	}
	bend := 0.0
	if slices.ContainsFunc(others, func(o point) bool { return distance(o, p, q) < 30 }) {
		bend = 60
	}
	// A quadratic curve passes half-way to its control point.
	length := math.Hypot(q.x-p.x, q.y-p.y)
	nx, ny := -(q.y-p.y)/length, (q.x-p.x)/length
	ctrl := point{mid.x + 2*bend*nx, mid.y + 2*bend*ny}
	label := point{mid.x + bend*nx, mid.y + bend*ny}
	style := `stroke="#555" stroke-width="2"`
	if e.access {
		style = `stroke="#999" stroke-dasharray="5 4"`
	}
	fmt.Fprintf(b, `<path d="M%g %g Q%.0f %.0f %g %g" fill="none" %s/>`, p.x, p.y, ctrl.x, ctrl.y, q.x, q.y, style)
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f" font-size="11" fill="#333" stroke="white" stroke-width="4" paint-order="stroke">%s</text>`+"\n", label.x, label.y+4, e.label)
}

// distance of a point from a line segment.
func distance(o, p, q point) float64 {
	dx, dy := q.x-p.x, q.y-p.y
	t := ((o.x-p.x)*dx + (o.y-p.y)*dy) / (dx*dx + dy*dy)
	t = math.Max(0, math.Min(1, t))
	return math.Hypot(o.x-p.x-t*dx, o.y-p.y-t*dy)
}
