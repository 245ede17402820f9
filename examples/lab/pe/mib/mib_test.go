package mib_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"mpbox/examples/lab/fabric"
	"mpbox/examples/lab/pe/agentx"
	"mpbox/examples/lab/pe/mib"
	"mpbox/examples/lab/pe/petest"
	"mpbox/examples/lab/pe/router"
)

const (
	T = "1.3.6.1.2.1.10.166.3.2." // mplsTeObjects
	F = "1.3.6.1.2.1.10.166.8.1." // mplsFTNObjects
	// Index of a tunnel from pe1 (10.255.0.1) to pe2.
	to2 = ".184483841.184483842"
)

// newHandler gives a handler of a router whose signaller does not run.
func newHandler(t *testing.T) (*mib.Handler, *router.Router, fabric.Node) {
	node := petest.Node(t)
	r, err := router.New(node, petest.NewFabric(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return mib.New(r), r, node
}

// vb makes a variable of "OID=i5", where the letter is snmpset's: i, u, s, x, o.
func vb(t *testing.T, s string) agentx.VarBind {
	name, v, _ := strings.Cut(s, "=")
	out := agentx.VarBind{Name: agentx.MustOID(name)}
	var n int64
	for _, c := range strings.TrimPrefix(v[1:], "-") {
		n = n*10 + int64(c-'0')
	}
	if strings.HasPrefix(v[1:], "-") {
		n = -n
	}
	switch v[0] {
	case 'i':
		out.Value = agentx.Int(int32(n))
	case 'u':
		out.Value = agentx.Uint(uint32(n))
	case 's':
		out.Value = agentx.String(v[1:])
	case 'x':
		var b []byte
		for h := v[1:]; h != ""; h = h[2:] {
			b = append(b, unhex(h[0])<<4|unhex(h[1]))
		}
		out.Value = agentx.Octets(b)
	case 'o':
		out.Value = agentx.Pointer(agentx.MustOID(v[1:]))
	default:
		t.Fatal("value", s)
	}
	return out
}

func unhex(c byte) byte { return byte(strings.IndexByte("0123456789abcdef", c)) }

// set carries a SET through; it gives the error and the 1-based index.
func set(t *testing.T, h *mib.Handler, vars ...string) (agentx.ErrorCode, int) {
	t.Helper()
	var vbs []agentx.VarBind
	for _, s := range vars {
		vbs = append(vbs, vb(t, s))
	}
	tx, err := h.Test(vbs)
	if err == nil {
		err = tx.Commit()
	}
	if err == nil {
		tx.Cleanup()
		return agentx.NoError, 0
	}
	var se *agentx.SetError
	if !errors.As(err, &se) {
		t.Fatal("SET:", err)
	}
	return se.Code, se.Index + 1
}

func tunnel(index string, cols ...string) []string {
	var out []string
	for _, c := range cols {
		col, v, _ := strings.Cut(c, "=")
		out = append(out, T+"2.1."+col+"."+index+to2+"="+v)
	}
	return out
}

// goodTunnel creates a dynamic tunnel.
func goodTunnel(index string) []string {
	return tunnel(index, "5=st", "12=i2", "34=i1", "36=i4")
}

func hop(i string, addr string) []string {
	p := T + "4.1."
	return []string{p + "5." + i + "=x" + addr, p + "10." + i + "=i1", p + "13." + i + "=i2", p + "14." + i + "=i4"}
}

func ftn(n string, cols ...string) []string {
	out := []string{}
	for _, c := range cols {
		col, v, _ := strings.Cut(c, "=")
		out = append(out, F+"3.1."+col+"."+n+"="+v)
	}
	return out
}

func goodFTN(n, pointer string) []string {
	return ftn(n, "2=i4", "4=xf8", "5=i1", "6=x0a010001", "7=x0a010001", "8=x0a020001", "9=x0a020001",
		"10=u4711", "11=u4711", "12=u80", "13=u80", "14=i6", "16=i2", "17=o"+pointer)
}

func join(parts ...[]string) []string {
	var out []string
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// Each case starts with a tunnel 5.1 that is active, a tunnel 6.1 not in service,
// hop 1.1.1 active, FTN 1 active on ifIndex 3, FTN 2 in no list.
func TestSetErrors(t *testing.T) {
	tn5 := T + "2.1.5.5.1" + to2
	for _, c := range []struct {
		name  string
		set   []string
		code  agentx.ErrorCode
		index int
	}{
		{"read-only scalar", []string{T + "1.0=u7"}, agentx.NotWritable, 1},
		{"read-only column", append(goodTunnel("7.1"), tunnel("7.1", "35=i1")...), agentx.NotWritable, 5},
		{"not accessible column", tunnel("7.1", "1=u7"), agentx.NotWritable, 1},
		{"recorded route", []string{T + "7.1.4.1.1=x0a000001"}, agentx.NotWritable, 1},
		{"cross-connects", []string{"1.3.6.1.2.1.10.166.2.1.10.1.9.1=i2"}, agentx.NotWritable, 1},

		{"wrong type", tunnel("7.1", "36=i4", "34=u1"), agentx.WrongType, 2},
		{"string for a number", tunnel("7.1", "36=i4", "20=s1"), agentx.WrongType, 2},
		{"value out of range", tunnel("7.1", "36=i4", "34=i1", "13=i8"), agentx.WrongValue, 3},
		{"negative", tunnel("7.1", "13=i-1"), agentx.WrongValue, 1},
		{"bits beyond the last", tunnel("7.1", "15=x04"), agentx.WrongValue, 1},
		{"notReady cannot be set", tunnel("7.1", "36=i3"), agentx.WrongValue, 1},
		{"RowStatus 7", tunnel("7.1", "36=i7"), agentx.WrongValue, 1},
		{"hop address of 5 octets", []string{T + "4.1.5.9.1.1=x0a00000102"}, agentx.WrongLength, 1},
		{"resource pointer elsewhere", tunnel("7.1", "17=o1.3.6.1.2"), agentx.WrongValue, 1},
		{"the first wrong one is named", tunnel("7.1", "13=i9", "14=i9"), agentx.WrongValue, 1},

		{"row is not there", tunnel("7.1", "34=i1"), agentx.InconsistentName, 1},
		{"activate what is not there", tunnel("7.1", "36=i1"), agentx.InconsistentValue, 1},
		{"create what is there", tunnel("5.1", "36=i4"), agentx.InconsistentValue, 1},
		{"index out of range", tunnel("70000.1", "34=i1", "36=i4"), agentx.NoCreation, 1},
		{"index too short", []string{T + "2.1.36.7=i4"}, agentx.NoCreation, 1},
		{"another router's tunnel", []string{T + "2.1.36.7.1.1.2=i4"}, agentx.InconsistentName, 1},
		{"number of a tunnel-te", goodTunnel("1.1"), agentx.InconsistentName, 1},
		{"row of the CLI", []string{T + "2.1.34.1.0.0.184483842=i2"}, agentx.NotWritable, 1},
		{"destroy row of the CLI", []string{T + "2.1.36.1.0.0.184483842=i6"}, agentx.NotWritable, 1},
		{"destroy what is not there", tunnel("7.1", "36=i6"), agentx.NoError, 0},
		{"createAndGo without admin status", tunnel("7.1", "5=sx", "36=i4"), agentx.InconsistentValue, 2},
		{"createAndGo, any order", tunnel("7.1", "36=i4", "34=i1", "5=sx"), agentx.NoError, 0},
		{"same variable twice", tunnel("7.1", "36=i4", "34=i1", "34=i2"), agentx.InconsistentValue, 3},
		{"setup better than holding", tunnel("7.1", "34=i1", "13=i3", "14=i5", "36=i4"), agentx.InconsistentValue, 4},
		{"transit role", tunnel("7.1", "34=i1", "10=i2", "36=i4"), agentx.InconsistentValue, 3},

		{"active: admin may change", tunnel("5.1", "34=i2"), agentx.NoError, 0},
		{"active: storage may change", tunnel("5.1", "37=i3"), agentx.NoError, 0},
		{"active: name may not", tunnel("5.1", "34=i2", "5=sother"), agentx.InconsistentValue, 2},
		{"active: hop list may not", tunnel("5.1", "20=u1"), agentx.InconsistentValue, 1},
		{"out of service and changed in one", tunnel("5.1", "5=sother", "36=i2"), agentx.NoError, 0},
		{"not in service: name may", tunnel("6.1", "5=sother", "36=i1"), agentx.NoError, 0},
		{"active hop may not change", []string{T + "4.1.5.1.1.1=x0a000301"}, agentx.InconsistentValue, 1},
		{"hop without type", []string{T + "4.1.13.1.1.2=i2", T + "4.1.14.1.1.2=i4"}, agentx.InconsistentValue, 2},
		{"IPv6 hop", append(hop("2.1.1", "20010db8000000000000000000000001"), T+"4.1.4.2.1.1=i2"), agentx.InconsistentValue, 4},
		{"hop index 0", hop("1.1.0", "0a000102"), agentx.NoCreation, 1},

		{"re-point an active FTN", ftn("1", "17=o"+T+"2.1.5.6.1"+to2), agentx.NoError, 0},
		{"point to no tunnel's name", ftn("1", "17=o"+T+"2.1.6.5.1"+to2), agentx.InconsistentValue, 1},
		{"point nowhere", ftn("1", "17=o0.0"), agentx.NoError, 0},
		{"redirectLsp", ftn("1", "16=i1"), agentx.InconsistentValue, 1},
		{"active FTN to a range of ports", ftn("1", "11=u4712"), agentx.InconsistentValue, 1},
		{"port 65536", ftn("3", "10=u65536"), agentx.WrongValue, 1},
		{"active FTN to a range of addresses", ftn("1", "7=x0a010003"), agentx.InconsistentValue, 1},
		{"FTN of a prefix", append(goodFTN("3", tn5)[:3], ftn("3", "6=x0a010000", "7=x0a0100ff", "8=x0a020001", "9=x0a020001", "14=i6", "10=u1", "11=u1", "12=u2", "13=u2", "16=i2")...), agentx.NoError, 0},
		{"addresses of two families", ftn("1", "5=i2"), agentx.InconsistentValue, 1},
		{"no action", ftn("3", "2=i4", "4=x04", "15=i10"), agentx.InconsistentValue, 1},
		{"DSCP alone", ftn("3", "2=i4", "4=x04", "15=i10", "16=i2", "17=o"+tn5), agentx.NoError, 0},
		{"DSCP 64", ftn("3", "15=i64"), agentx.WrongValue, 1},
		{"FTN 0", ftn("0", "2=i4"), agentx.NoCreation, 1},

		{"map of no FTN", []string{F + "5.1.4.3.1.9=i4"}, agentx.InconsistentValue, 1},
		{"map on no interface", []string{F + "5.1.4.99.0.2=i4"}, agentx.InconsistentName, 1},
		{"map twice", []string{F + "5.1.4.3.1.1=i4"}, agentx.InconsistentName, 1},
		{"map after one that is not there", []string{F + "5.1.4.3.2.1=i4"}, agentx.InconsistentName, 1},
		{"map of a wrong predecessor", []string{F + "5.1.4.3.2.1=i6"}, agentx.NoError, 0},
		{"two rows wrong, the first variable is named", []string{
			T + "2.1.5.7.1" + to2 + "=sx", F + "3.1.2.3=i1", T + "2.1.36.7.1" + to2 + "=i4"}, agentx.InconsistentValue, 2},
		{"two rows wrong in their order", []string{F + "3.1.2.3=i1", T + "2.1.36.7.1" + to2 + "=i1"}, agentx.InconsistentValue, 1},
		{"map at the end", []string{F + "5.1.4.3.1.2=i4"}, agentx.NoError, 0},

		{"all of a new LSP in one, wrong way round", join(
			[]string{F + "5.1.4.3.1.3=i4"}, goodFTN("3", T+"2.1.5.7.1"+to2), goodTunnel("7.1"), hop("3.1.1", "0a000302"),
			[]string{T + "2.1.20.7.1" + to2 + "=u3"}), agentx.NoError, 0},
		{"all of it, one wrong", join(
			goodTunnel("7.1"), hop("3.1.1", "0a000302"), goodFTN("3", T+"2.1.5.7.1"+to2), []string{F + "5.1.4.99.0.3=i4"}), agentx.InconsistentName, 23},
		{"resource and tunnel that uses it", join(
			[]string{T + "2.1.17.7.1" + to2 + "=o" + T + "6.1.2.1"}, goodTunnel("7.1"),
			[]string{T + "6.1.2.1=u500", T + "6.1.9.1=i4"}), agentx.NoError, 0},
		{"resource that is not there", append(goodTunnel("7.1"), tunnel("7.1", "17=o"+T+"6.1.2.1")...), agentx.InconsistentValue, 4},
		{"destroy FTN, tunnel and hops in one", []string{T + "4.1.14.1.1.1=i6", T + "2.1.36.5.1" + to2 + "=i6", F + "3.1.2.1=i6"}, agentx.NoError, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, r, _ := newHandler(t)
			for _, s := range [][]string{
				goodTunnel("5.1"), tunnel("6.1", "34=i1", "12=i2", "36=i5"), hop("1.1.1", "0a000302"),
				goodFTN("1", tn5), {F + "5.1.4.3.0.1=i4"}, goodFTN("2", tn5),
			} {
				if code, i := set(t, h, s...); code != agentx.NoError {
					t.Fatal("before:", s, code, i)
				}
			}
			before := r.Config()
			code, index := set(t, h, c.set...)
			if code != c.code || index != c.index {
				t.Errorf("%v at %d, want %v at %d", code, index, c.code, c.index)
			}
			if code != agentx.NoError && r.Config() != before {
				t.Error("a refused SET changed the configuration")
			}
		})
	}
}

// createAndWait rows say when they are complete.
func TestRowStatus(t *testing.T) {
	h, _, _ := newHandler(t)
	status := agentx.MustOID(T + "2.1.36.5.1" + to2)
	for _, c := range []struct {
		set  []string
		want int32
	}{
		{tunnel("5.1", "36=i5"), 3},
		{tunnel("5.1", "5=sname"), 3},
		{tunnel("5.1", "34=i1"), 2},
		{tunnel("5.1", "36=i1"), 1},
		{tunnel("5.1", "36=i2"), 2},
		{tunnel("5.1", "13=i3"), 2},
		{tunnel("5.1", "36=i1"), 1},
	} {
		if code, i := set(t, h, c.set...); code != agentx.NoError {
			t.Fatal(c.set, code, i)
		}
		if v := h.Get(status); v.Int32() != c.want {
			t.Errorf("after %v: RowStatus %v, want %d", c.set, v, c.want)
		}
	}
	if code, _ := set(t, h, tunnel("5.1", "36=i6")...); code != agentx.NoError {
		t.Fatal(code)
	}
	if v := h.Get(status); v.Type != agentx.NoSuchInstance {
		t.Error("destroyed row:", v)
	}
	if v := h.Get(agentx.MustOID(T + "99.1")); v.Type != agentx.NoSuchObject {
		t.Error("no object:", v)
	}
}

// The list of an interface stays a list: rows put in and taken out move the link
// of the one behind.
func TestFTNMapList(t *testing.T) {
	h, _, _ := newHandler(t)
	for _, n := range []string{"1", "2", "3"} {
		if code, i := set(t, h, goodFTN(n, "0.0")...); code != agentx.NoError {
			t.Fatal(code, i)
		}
	}
	list := func() string {
		var out []string
		at := agentx.SearchRange{Start: agentx.MustOID(F + "5.1.4"), End: agentx.MustOID(F + "5.1.5")}
		for {
			vb, ok := h.Next(at)
			if !ok {
				return strings.Join(out, " ")
			}
			out = append(out, vb.Name[len(at.End):].String())
			at.Start = vb.Name
		}
	}
	for _, c := range []struct{ set, want string }{
		{F + "5.1.4.3.0.1=i4", "3.0.1"},
		{F + "5.1.4.3.0.2=i4", "3.0.2 3.2.1"},
		{F + "5.1.4.3.2.3=i4", "3.0.2 3.2.3 3.3.1"},
		{F + "5.1.4.3.2.3=i6", "3.0.2 3.2.1"},
		{F + "5.1.4.4.0.1=i4", "3.0.2 3.2.1 4.0.1"},
		// One goes, another comes in its place, in one SET and in either order.
		{F + "5.1.4.3.0.3=i4 " + F + "5.1.4.3.0.2=i6", "3.0.3 3.3.1 4.0.1"},
		{F + "5.1.4.3.0.3=i6 " + F + "5.1.4.3.0.2=i4", "3.0.2 3.2.1 4.0.1"},
		{F + "3.1.2.2=i6", "3.0.1 4.0.1"},
	} {
		if code, i := set(t, h, strings.Fields(c.set)...); code != agentx.NoError {
			t.Fatal(c.set, code, i)
		}
		if got := list(); got != c.want {
			t.Errorf("after %s: %s, want %s", c.set, got, c.want)
		}
	}
}

// A walk sees each variable once, in order, and each can be got; values are of
// the types that the MIBs say.
func TestWalk(t *testing.T) {
	h, _, _ := newHandler(t)
	for _, s := range [][]string{goodTunnel("5.1"), hop("1.1.1", "0a000302"), goodFTN("1", T+"2.1.5.5.1"+to2), {F + "5.1.4.3.0.1=i4"}} {
		if code, i := set(t, h, s...); code != agentx.NoError {
			t.Fatal(code, i)
		}
	}
	at := agentx.SearchRange{Start: agentx.MustOID("1.3")}
	seen := map[string]agentx.ValueType{}
	for {
		vb, ok := h.Next(at)
		if !ok {
			break
		}
		if vb.Name.Compare(at.Start) <= 0 {
			t.Fatal(vb.Name, "does not follow", at.Start)
		}
		if got := h.Get(vb.Name); got.String() != vb.Value.String() {
			t.Errorf("get %v: %v, walked %v", vb.Name, got, vb.Value)
		}
		seen[vb.Name.String()] = vb.Value.Type
		at.Start = vb.Name
	}
	for name, want := range map[string]agentx.ValueType{
		"1.3.6.1.2.1.31.1.1.1.1.3":       agentx.OctetString,
		T + "1.0":                        agentx.Gauge32,
		T + "2.1.5.5.1" + to2:            agentx.OctetString,
		T + "2.1.11.1.0.0.184483842":     agentx.ObjectID,
		T + "2.1.20.5.1" + to2:           agentx.Gauge32,
		T + "2.1.35.5.1" + to2:           agentx.Integer,
		T + "4.1.6.1.1.1":                agentx.Gauge32,
		F + "1.0":                        agentx.Gauge32,
		F + "3.1.12.1":                   agentx.Gauge32,
		F + "3.1.17.1":                   agentx.ObjectID,
		F + "5.1.4.3.0.1":                agentx.Integer,
		F + "6.1.3.3.1":                  agentx.Counter64,
		"1.3.6.1.2.1.10.166.2.1.11.0":    agentx.Gauge32,
		"1.3.6.1.2.1.31.1.1.1.1.1048577": agentx.OctetString,
		T + "2.1.37.2.0.0.184483843":     agentx.Integer,
		"1.3.6.1.2.1.2.2.1.8.3":          agentx.Integer,
		T + "2.1.33.1.0.0.184483842":     agentx.Counter32,
		T + "2.1.27.1.0.0.184483842":     agentx.TimeTicks,
		T + "2.1.15.5.1" + to2:           agentx.OctetString,
		"1.3.6.1.2.1.10.166.3.1.2.0":     agentx.Gauge32,
		T + "2.1.26.1.0.0.184483842":     agentx.Gauge32,
		"1.3.6.1.2.1.2.1.0":              agentx.Integer,
		T + "11.0":                       agentx.Integer,
		T + "3.0":                        agentx.Gauge32,
		F + "3.1.4.1":                    agentx.OctetString,
		T + "2.1.8.1.0.0.184483842":      agentx.Integer,
		"1.3.6.1.2.1.31.1.1.1.18.3":      agentx.OctetString,
		"1.3.6.1.2.1.2.2.1.5.3":          agentx.Gauge32,
		T + "4.1.5.1.1.1":                agentx.OctetString,
		"1.3.6.1.2.1.10.166.2.1.6.0":     agentx.Gauge32,
		T + "2.1.32.1.0.0.184483842":     agentx.TimeTicks,
		F + "3.1.18.1":                   agentx.Integer,
	} {
		if seen[name] != want {
			t.Errorf("%s is %v, want %v", name, seen[name], want)
		}
	}
}

// SETs are logged, done or refused; faults refuse what is new and let go of what
// is there.
func TestFaultsAndLog(t *testing.T) {
	h, _, node := newHandler(t)
	for _, s := range [][]string{goodTunnel("5.1"), goodFTN("1", "0.0")} {
		if code, _ := set(t, h, s...); code != agentx.NoError {
			t.Fatal(code)
		}
	}
	if err := os.WriteFile(node.FaultsFile, []byte("refuse-ftn refuse-tunnel"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		set  []string
		code agentx.ErrorCode
	}{
		{goodTunnel("6.1"), agentx.ResourceUnavailable},
		{hop("1.1.1", "0a000302"), agentx.ResourceUnavailable},
		{goodFTN("2", "0.0"), agentx.ResourceUnavailable},
		{ftn("1", "17=o0.0"), agentx.ResourceUnavailable},
		{[]string{F + "5.1.4.3.0.1=i4"}, agentx.ResourceUnavailable},
		{ftn("1", "2=i6"), agentx.NoError},
		{tunnel("5.1", "36=i6"), agentx.NoError},
	} {
		if code, _ := set(t, h, c.set...); code != c.code {
			t.Errorf("%v: %v, want %v", c.set, code, c.code)
		}
	}
	es, err := router.ReadEvents(node.EventLog)
	if err != nil || len(es) != 9 {
		t.Fatal(len(es), "events,", err)
	}
	if e := es[0]; e.Kind != "set" || e.Error != "" || e.What[3] != "mplsTunnelRowStatus.5.1"+to2+" = INTEGER 4" {
		t.Errorf("%+v", e)
	}
	if e := es[2]; !strings.Contains(e.Error, "resourceUnavailable") {
		t.Errorf("%+v", e)
	}
}

func TestUndo(t *testing.T) {
	h, r, node := newHandler(t)
	before := r.Config()
	tx, err := h.Test([]agentx.VarBind{vb(t, goodTunnel("5.1")[2]), vb(t, goodTunnel("5.1")[3])})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil || len(r.Config().Tunnels) != 1 {
		t.Fatal("commit:", err)
	}
	if err := tx.Undo(); err != nil || r.Config() != before {
		t.Error("undo:", err)
	}
	es, _ := router.ReadEvents(node.EventLog)
	if len(es) != 2 || es[0].Error != "" || es[1].Error == "" {
		t.Error("events:", es)
	}
	// A commit in between makes the SET fail, not overwrite.
	tx, _ = h.Test([]agentx.VarBind{vb(t, goodTunnel("5.1")[2]), vb(t, goodTunnel("5.1")[3])})
	if err := r.Commit(r.Config(), r.Config().Clone()); err != nil {
		t.Fatal(err)
	}
	var se *agentx.SetError
	if err := tx.Commit(); !errors.As(err, &se) || se.Code != agentx.CommitFailed {
		t.Error("commit after another:", err)
	}
}
