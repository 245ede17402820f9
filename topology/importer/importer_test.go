package importer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mpbox/topology"
)

// lines describes a network, a line for each node and link, for golden texts.
func lines(t *topology.TED) []string {
	var s []string
	for _, n := range t.Nodes() {
		line := "node " + n.Name
		if n.RouterID.IsValid() {
			line += " " + n.RouterID.String()
		}
		s = append(s, line)
	}
	for i, l := range t.Links() {
		line := fmt.Sprintf("%s %s->%s te=%d igp=%d", l.Name, t.Nodes()[l.From].Name, t.Nodes()[l.To].Name, l.TEMetric, l.IGPMetric)
		add := func(is bool, format string, args ...any) {
			if is {
				line += " " + fmt.Sprintf(format, args...)
			}
		}
		add(l.Delay > 0, "delay=%v", l.Delay)
		add(l.MaxBandwidth > 0, "bw=%v/%v", l.MaxBandwidth, l.MaxReservable)
		add(l.Unreserved != [8]float64{}, "free=%v..%v", l.Unreserved[0], l.Unreserved[7])
		add(l.AdminGroup > 0, "groups=%#x", l.AdminGroup)
		add(len(l.SRLGs) > 0, "srlgs=%v", l.SRLGs)
		add(l.LocalAddr.IsValid() || l.RemoteAddr.IsValid(), "%v>%v", l.LocalAddr, l.RemoteAddr)
		add(l.LocalID > 0, "ids=%d>%d", l.LocalID, l.RemoteID)
		add(l.Down, "down")
		add(l.Reverse < 0, "oneway")
		add(l.Reverse >= 0 && t.Links()[l.Reverse].Reverse != i, "PAIRED WRONG")
		s = append(s, line)
	}
	return s
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		file   string
		format Format
		want   []string
		notes  []string
	}{
		{"net.yaml", YAML, []string{
			"node a 10.255.0.1", "node b 10.255.0.2", "node c 2001:db8::3",
			"a-b a->b te=10 igp=5 delay=2ms bw=1e+10/8e+09 free=6e+09..6e+09 groups=0x5 srlgs=[3 7] 10.0.0.1>10.0.0.2",
			"a-b b->a te=10 igp=5 delay=2ms bw=1e+10/8e+09 free=6e+09..6e+09 groups=0x5 srlgs=[3 7] 10.0.0.2>10.0.0.1",
			"a-b#2 a->b te=20 igp=20 delay=250µs ids=11>12",
			"a-b#2 b->a te=30 igp=30 delay=1ms ids=12>11",
			"up b->c te=4 igp=4 bw=2e+07/2e+07 free=2e+07..2e+07 oneway",
			"dead c->a te=1 igp=1 bw=1500/1500 free=1500..1500 down",
			"dead a->c te=1 igp=1 bw=1500/1500 free=1500..1500 down",
		}, nil},
		{"net.gml", GML, []string{
			"node Zürich", "node Bern", "node 2", "node 3", "node 4", "node 5",
			"Zürich-Bern Zürich->Bern te=12 igp=12 bw=1e+10/1e+10 free=1e+10..1e+10 srlgs=[2 4]",
			"Zürich-Bern Bern->Zürich te=12 igp=12 bw=1e+10/1e+10 free=1e+10..1e+10 srlgs=[2 4]",
			"Zürich-Bern#2 Zürich->Bern te=3 igp=3",
			"Zürich-Bern#2 Bern->Zürich te=3 igp=3",
			"Bern-2 Bern->2 te=1 igp=1 delay=500µs srlgs=[8 9]",
			"Bern-2 2->Bern te=1 igp=1 delay=500µs srlgs=[8 9]",
			"2-3 2->3 te=1 igp=1 down",
			"2-3 3->2 te=1 igp=1 down",
			"3-4 3->4 te=1 igp=7 delay=2ms bw=2e+07/2e+07 free=2e+07..2e+07 groups=0x6",
			"3-4 4->3 te=1 igp=7 delay=2ms bw=2e+07/2e+07 free=2e+07..2e+07 groups=0x6",
			"4-5 4->5 te=1 igp=1",
			"4-5 5->4 te=1 igp=1",
		}, []string{"net.gml: edge 7 5-5: it leads to where it begins: left out"}},
		{"net.graphml", GraphML, []string{
			"node Oslo", "node Bergen", "node 2",
			"Oslo-Bergen Oslo->Bergen te=5 igp=5 bw=1e+09/1e+09 free=1e+09..1e+09 srlgs=[1 2]",
			"Oslo-Bergen Bergen->Oslo te=5 igp=5 bw=1e+09/1e+09 free=1e+09..1e+09 srlgs=[1 2]",
			"Oslo-Bergen#2 Oslo->Bergen te=7 igp=7",
			"Oslo-Bergen#2 Bergen->Oslo te=7 igp=7",
			"Bergen-2 Bergen->2 te=2 igp=2 oneway",
		}, nil},
		{"net.sndlib", SNDlibNative, []string{
			"node Berlin", "node Hamburg", "node Koeln",
			"L1 Berlin->Hamburg te=1 igp=1 bw=4e+07/4e+07 free=4e+07..4e+07",
			"L1 Hamburg->Berlin te=1 igp=1 bw=4e+07/4e+07 free=4e+07..4e+07",
			"L2 Hamburg->Koeln te=1 igp=1 bw=6.22e+08/6.22e+08 free=6.22e+08..6.22e+08",
			"L2 Koeln->Hamburg te=1 igp=1 bw=6.22e+08/6.22e+08 free=6.22e+08..6.22e+08",
			"L3 Koeln->Berlin te=1 igp=1", "L3 Berlin->Koeln te=1 igp=1",
			"L4 Koeln->Berlin te=1 igp=1 bw=2.5e+06/2.5e+06 free=2.5e+06..2.5e+06",
			"L4 Berlin->Koeln te=1 igp=1 bw=2.5e+06/2.5e+06 free=2.5e+06..2.5e+06",
		}, nil},
		{"net.sndlib.xml", SNDlibXML, []string{
			"node Berlin", "node Hamburg", "node Koeln",
			"L1 Berlin->Hamburg te=1 igp=1 delay=1.296548ms bw=4e+07/4e+07 free=4e+07..4e+07",
			"L1 Hamburg->Berlin te=1 igp=1 delay=1.296548ms bw=4e+07/4e+07 free=4e+07..4e+07",
			"L2 Hamburg->Koeln te=1 igp=1 bw=6.22e+08/6.22e+08 free=6.22e+08..6.22e+08",
			"L2 Koeln->Hamburg te=1 igp=1 bw=6.22e+08/6.22e+08 free=6.22e+08..6.22e+08",
			"L3 Koeln->Berlin te=1 igp=1", "L3 Berlin->Koeln te=1 igp=1",
			"L4 Koeln->Berlin te=1 igp=1 bw=2.5e+06/2.5e+06 free=2.5e+06..2.5e+06",
			"L4 Berlin->Koeln te=1 igp=1 bw=2.5e+06/2.5e+06 free=2.5e+06..2.5e+06",
		}, nil},
		{"net.nodelink.json", NodeLink, []string{
			"node Berlin", "node Hamburg", "node Koeln",
			"Berlin-Hamburg Berlin->Hamburg te=1 igp=1 delay=1.2775ms",
			"Berlin-Hamburg Hamburg->Berlin te=1 igp=1 delay=1.2775ms",
			"Hamburg-Koeln Hamburg->Koeln te=4 igp=4 srlgs=[5 6]",
			"Hamburg-Koeln Koeln->Hamburg te=4 igp=4 srlgs=[5 6]",
			"Koeln-Berlin Koeln->Berlin te=9 igp=9 srlgs=[5]",
			"Koeln-Berlin Berlin->Koeln te=9 igp=9 srlgs=[5]",
		}, nil},
		{"frr-ospf.json", FRR, []string{
			"node 10.9.0.1 10.9.0.1", "node 10.9.0.2 10.9.0.2", "node 10.9.0.3 10.9.0.3",
			"10.9.0.1-10.9.0.2 10.9.0.1->10.9.0.2 te=100 igp=10 delay=1.5ms bw=1e+07/8e+06 free=7.2e+06..800000 groups=0x5 10.8.1.1>10.8.1.2",
			"10.9.0.1-10.9.0.2 10.9.0.2->10.9.0.1 te=20 igp=20 bw=1e+07/1e+07 free=1e+07..1e+07 10.8.1.2>10.8.1.1",
			"10.9.0.2-10.9.0.3 10.9.0.2->10.9.0.3 te=8 igp=7 delay=30µs srlgs=[21 22] ids=4>6",
			"10.9.0.2-10.9.0.3 10.9.0.3->10.9.0.2 te=7 igp=7 ids=6>4 down",
			"10.9.0.1-10.9.0.3 10.9.0.1->10.9.0.3 te=3 igp=0 10.8.4.1>invalid IP down oneway",
		}, []string{
			"frr-ospf.json: edge 10.8.2.1: it has SRLGs, of which FRR does not print the first",
			"frr-ospf.json: edge 104: it has no IGP metric yet: import it again when FRR has heard it",
			"frr-ospf.json: edge 105: an end of it is unknown: left out",
		}},
		{"frr-isis.json", FRR, []string{
			"node core1 10.9.0.1", "node 10.9.0.2 10.9.0.2", "node 10.9.0.3 10.9.0.3",
			"core1-10.9.0.2 core1->10.9.0.2 te=10 igp=10 10.8.1.1>10.8.1.2",
			"core1-10.9.0.2 10.9.0.2->core1 te=10 igp=10 10.8.1.2>10.8.1.1",
		}, nil},
	} {
		t.Run(c.file, func(t *testing.T) {
			im, err := Load(filepath.Join("testdata", c.file))
			if err != nil {
				t.Fatal(err)
			}
			if im.Format != c.format {
				t.Errorf("format %s, want %s", im.Format, c.format)
			}
			got := lines(im.TED)
			for i := range max(len(got), len(c.want)) {
				if i >= len(got) || i >= len(c.want) || got[i] != c.want[i] {
					t.Fatalf("line %d:\n%s\nwant\n%s", i, strings.Join(got[min(i, len(got)):], "\n"), strings.Join(c.want[min(i, len(c.want)):], "\n"))
				}
			}
			if !slices.Equal(im.Notes, c.notes) {
				t.Errorf("notes %q, want %q", im.Notes, c.notes)
			}
		})
	}
}

// The lab's topologies are in this format too.
func TestLabTopologiesLoad(t *testing.T) {
	files, err := filepath.Glob("../../examples/topologies/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no topologies found", err)
	}
	for _, f := range files {
		if _, err := Load(f); err != nil {
			t.Error(err)
		}
	}
}

func TestRefused(t *testing.T) {
	yaml := func(links string) string {
		return "nodes:\n  - {name: a}\n  - {name: b}\nlinks:\n  - " + links + "\n"
	}
	gml := func(edge string) string {
		return "graph [\n node [ id 1 label \"A\" ]\n node [ id 2 label \"B\" ]\n edge [ " + edge + " ]\n]\n"
	}
	snd := func(link string) string {
		return "?SNDlib native format; type: network; version: 1.0\nNODES ( A B )\nLINKS (\n" + link + "\n)\n"
	}
	frr := func(edge string) string {
		return `{"ted": {"vertices": [{"vertex-id": 1, "router-id": "10.0.0.1"}, {"vertex-id": 2, "router-id": "10.0.0.2"}], "edges": [` + edge + `]}}`
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":                   {"  \n", "f: the file is empty"},
		"yaml unknown key":        {yaml("{a: a, b: b, metrik: 3}"), `f:5:18: unknown key "links[0].metrik": want one of a, a_address`},
		"yaml unknown at top":     {"node: []\n", `f:1:1: unknown key "node": want one of lab, links, nodes`},
		"yaml twice":              {yaml("{a: a, b: b, a: a}"), `f:5:18: key "links[0].a" is given twice`},
		"yaml value":              {yaml("{a: a, b: b, metric: fast}"), `f:5:26: links[0].metric: "fast": want a whole number`},
		"yaml negative":           {yaml("{a: a, b: b, metric: -1}"), `f:5:26: links[0].metric: "-1": want a whole number`},
		"yaml bandwidth":          {yaml("{a: a, b: b, bandwidth: 20MB}"), `f:5:29: links[0].bandwidth: bandwidth "20MB"`},
		"yaml delay":              {yaml("{a: a, b: b, delay: soon}"), `f:5:25: links[0].delay: delay "soon"`},
		"yaml address":            {yaml("{a: a, b: b, a_address: 10.0.0.1/30}"), `f:5:29: links[0].a_address: address "10.0.0.1/30"`},
		"yaml srlgs":              {yaml("{a: a, b: b, srlgs: 5}"), `f:5:25: links[0].srlgs: want a list`},
		"yaml unknown node":       {yaml("{a: a, b: x}"), `f:5:5: link a-x: node "x" is not among the nodes`},
		"yaml loop":               {yaml("{a: a, b: a}"), `it begins and ends at node a`},
		"yaml two metrics":        {yaml("{a: a, b: b, metric: 1, te_metric: 2}"), `f:5:5: link a-b: metric is 1 and te_metric 2`},
		"yaml oneway with ba":     {yaml("{a: a, b: b, oneway: true, metric_ba: 2}"), `f:5:5: link a-b: it is oneway`},
		"yaml nameless node":      {"nodes: [{router_id: 1.1.1.1}]\nlinks: []\n", `f:1:9: a node needs a name`},
		"yaml node twice":         {"nodes: [{name: a}, {name: a}]\n", `f:1:20: node "a" is given twice`},
		"yaml one router id":      {"nodes: [{name: a, router_id: 1.1.1.1}, {name: b, router_id: 1.1.1.1}]\n", `node "b": router id 1.1.1.1 is also that of node "a"`},
		"yaml syntax":             {"nodes: [\n", `f:`},
		"yaml two documents":      {"nodes: []\n---\nnodes: []\n", `more than one document`},
		"yaml text":               {"hello\n", `f:1:1: this is no topology`},
		"yaml no nodes":           {"nodes: []\n", `f: it has no nodes`},
		"yaml parallel, one name": {"nodes: [{name: a}, {name: b}]\nlinks: [{name: l, a: a, b: b}, {name: l, a: a, b: b}]\n", `"l"`},
		"gml fraction":            {gml("source 1 target 2 metric 1.5"), `f:4: edge 1 A-B: metric "1.5": want a whole number`},
		"gml weight":              {gml("source 1 target 2 weight -3"), `f:4: edge 1 A-B: weight "-3"`},
		"gml srlg":                {gml(`source 1 target 2 srlgs "1,x"`), `f:4: edge 1 A-B: srlgs "x"`},
		"gml unknown end":         {gml("source 1 target 7"), `f:4: edge 1: its target "7" is no node`},
		"gml no end":              {gml("source 1"), `f:4: an edge has no source or no target`},
		"gml not closed":          {"graph [ node [ id 1 ", `f:1: a [ is not closed`},
		"gml no value":            {"graph [ node [ id ] ]", `f:1: id has no value`},
		"gml two of an id":        {"graph [ node [ id 1 ] node [ id 1 ] ]", `f:1: node id "1" is given twice`},
		"gml no id":               {"graph [ node [ label \"x\" ] ]", `f:1: a node has no id`},
		"gml two graphs":          {"graph [ node [ id 1 ] ]\ngraph [ ]", `f:2: a second graph`},
		"gml bandwidth":           {gml("source 1 target 2 LinkSpeedRaw fast"), `f:4: edge 1 A-B: bandwidth "fast"`},
		"xml of another kind":     {"<html></html>", `root element <html>`},
		"graphml syntax":          {"<graphml>\n<graph>\n<node id='1'>\n</graph></graphml>", `f:4: XML: `},
		"graphml hyperedge":       {"<graphml><graph>\n<hyperedge id='h'/></graph></graphml>", `f:2: <hyperedge h>`},
		"graphml nested":          {"<graphml><graph><node id='1'>\n<graph/></node></graph></graphml>", `nested <graph>`},
		"graphml key":             {"<graphml><graph><node id='1'>\n<data key='x'>1</data></node></graph></graphml>", `there is no such <key>`},
		"graphml encoding":        {"<?xml version='1.0' encoding='klingon'?><graphml/>", `encoding "klingon"`},
		"graphml end":             {"<graphml><graph><node id='1'/><edge source='1' target='2'/></graph></graphml>", `f:1: edge 1: its target "2" is no node`},
		"sndlib model":            {"?SNDlib native format; type: model; version: 1.0\n", `want a network file`},
		"sndlib no links":         {"?SNDlib native format; type: network; version: 1.0\nNODES ( A )\n", `want the sections NODES and LINKS`},
		"sndlib open":             {"?SNDlib native format; type: network; version: 1.0\nNODES ( A\n", `f:3: it ends within a section`},
		"sndlib end":              {snd("L1 ( A C ) 0 0 0 0 ( )"), `f:4: link L1: its target "C" is no node`},
		"sndlib ends":             {snd("L1 ( A ) 0 0 0 0 ( )"), `f:4: link L1: want ( source target )`},
		"sndlib number":           {snd("L1 ( A B ) 0 0 x 0 ( )"), `f:4: link L1: "x": want a number`},
		"sndlib negative cost":    {snd("L1 ( A B ) 0 0 -7 0 ( )"), `f:4: link L1: routing cost "-7"`},
		"sndlib cost":             {snd("L1 ( A B ) 0 0 1.5 0 ( )"), `f:4: link L1: routing cost "1.5"`},
		"sndlib twice":            {snd("L1 ( A B ) 0 0 0 0 ( )\nL1 ( A B ) 0 0 0 0 ( )"), `"L1"`},
		"sndlib xml end":          {"<network><networkStructure><nodes><node id='A'/></nodes><links><link id='L'><source>A</source><target>B</target></link></links></networkStructure></network>", `link L: its target "B" is no node`},
		"json syntax":             {"{\"ted\": \n nope}", `f:`},
		"node-link no id":         {`{"nodes": [{}], "links": [{"source": 1, "target": 2}]}`, `node 1 has no id`},
		"node-link end":           {`{"nodes": [{"id": 1}], "links": [{"source": 1, "target": 2}]}`, `edge 1: its target "2" is no node`},
		"node-link type":          {`{"directed": 5, "nodes": [], "links": [{"source": 1}]}`, `f:1:`},
		"frr address":             {frr(`{"edge-id": 4, "local-vertex-id": 1, "remote-vertex-id": 2, "edge-attributes": {"local-address": "x"}}`), `edge 4: local-address "x"`},
		"frr metric":              {frr(`{"edge-id": 4, "local-vertex-id": 1, "remote-vertex-id": 2, "metric": 1e12}`), `edge 4: metric "1e12"`},
		"frr class":               {frr(`{"edge-id": 4, "local-vertex-id": 1, "remote-vertex-id": 2, "edge-attributes": {"unreserved-bandwidth": [{"class-type-9": 1}]}}`), `class-type-9`},
		"frr srlg":                {frr(`{"edge-id": 4, "local-vertex-id": 1, "remote-vertex-id": 2, "edge-attributes": {"srlgs": ["x"]}}`), `edge 4: srlgs`},
		"frr bandwidth":           {frr(`{"edge-id": 4, "local-vertex-id": 1, "remote-vertex-id": 2, "edge-attributes": {"max-link-bandwidth": -1}}`), `-8`},
		"frr vertex":              {`{"ted": {"vertices": [{"router-id": "10.0.0.1"}]}}`, `vertex 1 has no vertex-id`},
	} {
		t.Run(name, func(t *testing.T) {
			im, err := Parse("f", []byte(c.text))
			if err == nil {
				t.Fatalf("accepted: %q", lines(im.TED))
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q does not say %q", err, c.want)
			}
		})
	}
}

// A file cut off anywhere is an error or a smaller network, never a panic.
func TestTruncated(t *testing.T) {
	for _, name := range fixtures(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data {
			_, _ = Parse("f", data[:i])
		}
	}
}

func fixtures(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) < 8 {
		t.Fatal("fixtures are missing", err)
	}
	return files
}

func FuzzParse(f *testing.F) {
	for _, name := range fixtures(f) {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		im, err := Parse("f", data)
		if err != nil {
			return
		}
		for _, l := range im.TED.Links() {
			if l.From == l.To || l.Delay < 0 || l.MaxBandwidth < 0 {
				t.Errorf("accepted %+v", l)
			}
		}
		_ = lines(im.TED)
	})
}

func TestValues(t *testing.T) {
	for text, want := range map[string]float64{"0": 0, "1500": 1500, "20M": 20e6, " 1.5 G": 1.5e9, "3k": 3e3, "2T": 2e12, "1e9": 1e9} {
		if r, err := ParseRate(text); err != nil || float64(r) != want {
			t.Errorf("%q is %v, %v", text, float64(r), err)
		}
	}
	for _, text := range []string{"", "M", "-1", "NaN", "Inf", "1P", "1e308T"} {
		if r, err := ParseRate(text); err == nil {
			t.Errorf("%q is accepted as %v", text, float64(r))
		}
	}
	for text, want := range map[string]time.Duration{"0": 0, "5ms": 5 * time.Millisecond, "250": 250 * time.Microsecond, "0.5": 500, "1m": time.Minute} {
		if d, err := parseDelay(text); err != nil || time.Duration(d) != want {
			t.Errorf("%q is %v, %v", text, time.Duration(d), err)
		}
	}
	for _, text := range []string{"", "-1", "-1ms", "1e30", "5 parsec"} {
		if d, err := parseDelay(text); err == nil {
			t.Errorf("%q is accepted as %v", text, time.Duration(d))
		}
	}
}
