// Package importer reads topology files: mpbox YAML, SNDlib (native, XML, JSON),
// Internet Topology Zoo (GML, GraphML) and the TED that FRR prints as JSON. The
// format is told by the content. Nothing is guessed in silence: what a file lacks
// gets the defaults that ../README.md lists, what cannot be meant is refused with
// the file, the place and the element.
package importer

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"mpbox/topology"
)

// Format of a topology file.
type Format string

// The formats that are read.
const (
	YAML         Format = "mpbox"
	SNDlibNative Format = "sndlib"
	SNDlibXML    Format = "sndlib-xml"
	NodeLink     Format = "node-link" // JSON graphs, SNDlib's among them
	GML          Format = "gml"
	GraphML      Format = "graphml"
	FRR          Format = "frr"
)

// Import is what a file holds.
type Import struct {
	TED    *topology.TED
	Format Format
	// Notes tell people what was left out or assumed.
	Notes []string
}

// maxSize is far above any network's file, and keeps a wrong file from filling
// the memory.
const maxSize = 64 << 20

// Load reads a file.
func Load(path string) (Import, error) {
	f, err := os.Open(path)
	if err != nil {
		return Import{}, fmt.Errorf("read topology: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return Import{}, fmt.Errorf("read topology %s: %w", path, err)
	}
	return Parse(filepath.Base(path), data)
}

// Parse reads a file's content. The name is used in errors.
func Parse(name string, data []byte) (Import, error) {
	if len(data) > maxSize {
		return Import{}, fmt.Errorf("read topology %s: larger than %d MiB", name, maxSize>>20)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	format, err := Detect(data)
	if err != nil {
		return Import{}, fmt.Errorf("read topology %s: %w", name, err)
	}
	im := Import{Format: format}
	p := &parser{name: name}
	switch format {
	case YAML:
		im.TED, err = p.yaml(data)
	case SNDlibNative:
		im.TED, err = p.sndlibNative(data)
	case SNDlibXML:
		im.TED, err = p.sndlibXML(data)
	case NodeLink:
		im.TED, err = p.nodeLink(data)
	case GML:
		im.TED, err = p.gml(data)
	case GraphML:
		im.TED, err = p.graphML(data)
	case FRR:
		im.TED, err = p.frr(data)
	}
	if err != nil {
		return Import{}, fmt.Errorf("read topology: %w", err)
	}
	if len(im.TED.Nodes()) == 0 {
		return Import{}, fmt.Errorf("read topology: %s: it has no nodes", name)
	}
	im.Notes = p.notes
	return im, nil
}

// parser holds what all formats need.
type parser struct {
	name  string
	notes []string
}

func (p *parser) note(format string, args ...any) {
	p.notes = append(p.notes, p.name+": "+fmt.Sprintf(format, args...))
}

// fail makes an error that begins with the file's name and a place in it.
func (p *parser) fail(where, format string, args ...any) error {
	if where != "" {
		where = ":" + where
	}
	return fmt.Errorf("%s%s: %w", p.name, where, fmt.Errorf(format, args...))
}

var gmlGraph = regexp.MustCompile(`(?m)(^|\s)graph\s*\[`)

// Detect tells the format of a file's content.
func Detect(data []byte) (Format, error) {
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return "", errors.New("the file is empty")
	case bytes.HasPrefix(text, []byte("?SNDlib")):
		return SNDlibNative, nil
	case text[0] == '<':
		return detectXML(text)
	case text[0] == '{':
		if f, ok := detectJSON(text); ok {
			return f, nil
		}
		return YAML, nil
	case gmlGraph.Match(text[:min(len(text), 4096)]):
		return GML, nil
	}
	return YAML, nil
}

func detectXML(text []byte) (Format, error) {
	d := newXML(text)
	for {
		tok, err := d.Token()
		if err != nil {
			return "", fmt.Errorf("parse XML: %w", err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			switch e.Name.Local {
			case "graphml":
				return GraphML, nil
			case "network":
				return SNDlibXML, nil
			}
			return "", fmt.Errorf("XML of unknown kind: root element <%s>, want <graphml> or SNDlib's <network>", e.Name.Local)
		}
	}
}

// detectJSON knows FRR's TED and node-link graphs; mpbox files are YAML, and so
// may be JSON too.
func detectJSON(text []byte) (Format, bool) {
	var top map[string]json.RawMessage
	if json.Unmarshal(text, &top) != nil {
		return "", false
	}
	if _, ok := top["ted"]; ok {
		return FRR, true
	}
	for _, key := range []string{"links", "edges"} {
		var links []map[string]json.RawMessage
		if raw, ok := top[key]; ok && json.Unmarshal(raw, &links) == nil {
			for _, l := range links {
				if _, ok := l["source"]; ok {
					return NodeLink, true
				}
			}
			if key == "edges" || top["graph"] != nil || top["directed"] != nil {
				return NodeLink, true
			}
		}
	}
	return "", false
}
