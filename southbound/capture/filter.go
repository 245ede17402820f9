package capture

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// FilterOptions choose what a kernel filter lets through.
type FilterOptions struct {
	// ThirdACK: also ACKs that carry MP_CAPABLE or MP_JOIN, when that is the first
	// option or stands behind a padded timestamp, as all known hosts send it.
	ThirdACK bool
	// ERSPAN: the packets are mirrored from afar; the filter looks at what is inside.
	ERSPAN bool
}

// Filter gives a classic BPF program that lets TCP packets with SYN, FIN or RST
// through (and third ACKs, by option), behind up to three VLAN tags, PPPoE or six
// MPLS labels, IPv4 with options or IPv6. An IPv6 packet with extension headers, or
// IPv4 with an Authentication Header, passes whole: there are few, and a filter has
// no loops to follow them.
func Filter(o FilterOptions) ([]bpf.RawInstruction, error) {
	a := &assembler{labels: map[string]int{}}
	a.add(bpf.LoadConstant{Dst: bpf.RegX, Val: 0})
	if o.ERSPAN {
		a.erspan()
	}
	a.linkLayer()
	a.network()
	a.transport(o.ThirdACK)
	a.label("accept")
	a.add(bpf.RetConstant{Val: 1 << 16})
	a.label("drop")
	a.add(bpf.RetConstant{Val: 0})
	prog, err := a.resolve()
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return nil, fmt.Errorf("assemble packet filter: %w", err)
	}
	return raw, nil
}

// assembler resolves jumps to labels, all of them forward.
type assembler struct {
	prog   []bpf.Instruction
	fixups []fixup
	labels map[string]int
}

type fixup struct {
	at    int
	label string
	cond  bpf.JumpTest
	val   uint32
	not   bool
	goTo  bool
}

func (a *assembler) add(in ...bpf.Instruction) { a.prog = append(a.prog, in...) }
func (a *assembler) label(l string)            { a.labels[l] = len(a.prog) }

// when jumps if the test on register A holds; unless, if it does not.
func (a *assembler) when(cond bpf.JumpTest, val uint32, label string) {
	a.fixups = append(a.fixups, fixup{at: len(a.prog), label: label, cond: cond, val: val})
	a.add(nil)
}

func (a *assembler) unless(cond bpf.JumpTest, val uint32, label string) {
	a.fixups = append(a.fixups, fixup{at: len(a.prog), label: label, cond: cond, val: val, not: true})
	a.add(nil)
}

func (a *assembler) jump(label string) {
	a.fixups = append(a.fixups, fixup{at: len(a.prog), label: label, goTo: true})
	a.add(nil)
}

func (a *assembler) resolve() ([]bpf.Instruction, error) {
	for _, f := range a.fixups {
		to, ok := a.labels[f.label]
		skip := to - f.at - 1
		switch {
		case !ok || skip < 0 || skip > 255 && !f.goTo:
			return nil, fmt.Errorf("packet filter: bad jump to %q", f.label)
		case f.goTo:
			a.prog[f.at] = bpf.Jump{Skip: uint32(skip)}
		case f.not:
			a.prog[f.at] = bpf.JumpIf{Cond: f.cond, Val: f.val, SkipFalse: uint8(skip)}
		default:
			a.prog[f.at] = bpf.JumpIf{Cond: f.cond, Val: f.val, SkipTrue: uint8(skip)}
		}
	}
	return a.prog, nil
}

// load loads n bytes at X+off into A.
func (a *assembler) load(off uint32, n int) { a.add(bpf.LoadIndirect{Off: off, Size: n}) }

// forward adds n to X.
func (a *assembler) forward(n uint32) {
	a.add(bpf.TXA{}, bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: n}, bpf.TAX{})
}

// linkLayer leaves X such that the IP header begins at X+14. A tag or label that
// is skipped moves X by its length, so that the ethertype stays at X+12.
func (a *assembler) linkLayer() {
	for i := range 3 {
		tag, next := fmt.Sprint("tag", i), fmt.Sprint("notag", i)
		a.load(12, 2)
		for _, t := range []uint32{0x8100, 0x88a8, 0x9100} {
			a.when(bpf.JumpEqual, t, tag)
		}
		a.jump(next)
		a.label(tag)
		a.forward(4)
		a.label(next)
	}
	a.load(12, 2)
	a.when(bpf.JumpEqual, 0x0800, "ip")
	a.when(bpf.JumpEqual, 0x86dd, "ip")
	a.when(bpf.JumpEqual, 0x8847, "mpls")
	a.when(bpf.JumpEqual, 0x8848, "mpls")
	a.unless(bpf.JumpEqual, 0x8864, "drop")
	a.forward(8) // PPPoE session header and PPP protocol
	a.jump("ip")
	a.label("mpls")
	for range 6 {
		a.load(14+2, 1)
		a.add(bpf.StoreScratch{Src: bpf.RegA, N: 0})
		a.forward(4)
		a.add(bpf.LoadScratch{Dst: bpf.RegA, N: 0})
		a.when(bpf.JumpBitsSet, 1, "ip")
	}
	a.jump("accept")
}

// network leaves X such that the TCP header begins at X+14.
func (a *assembler) network() {
	a.label("ip")
	a.load(14, 1)
	a.add(bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4})
	a.when(bpf.JumpEqual, 4, "ipv4")
	a.unless(bpf.JumpEqual, 6, "drop")
	a.load(14+6, 1)
	for _, ext := range []uint32{0, 43, 44, 51, 60, 135, 139, 140} {
		a.when(bpf.JumpEqual, ext, "accept")
	}
	a.unless(bpf.JumpEqual, 6, "drop")
	a.forward(40)
	a.jump("tcp")
	a.label("ipv4")
	a.load(14+9, 1)
	a.when(bpf.JumpEqual, 51, "accept")
	a.unless(bpf.JumpEqual, 6, "drop")
	a.load(14+6, 2)
	a.when(bpf.JumpBitsSet, 0x1fff, "drop") // a later fragment
	a.load(14, 1)
	a.add(
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 15},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.TAX{})
}

func (a *assembler) transport(thirdACK bool) {
	a.label("tcp")
	a.load(14+13, 1)
	a.when(bpf.JumpBitsSet, 7, "accept") // FIN, SYN, RST
	if !thirdACK {
		a.jump("drop")
		return
	}
	a.load(14+12, 1)
	a.add(bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4})
	a.when(bpf.JumpLessThan, (20+20)/4, "drop")
	a.add(bpf.StoreScratch{Src: bpf.RegA, N: 0})
	a.option(20, "behind")
	a.label("behind")
	a.add(bpf.LoadScratch{Dst: bpf.RegA, N: 0})
	a.when(bpf.JumpLessThan, (20+12+20)/4, "drop")
	a.option(20+12, "drop")
}

// option accepts a packet with MP_CAPABLE or MP_JOIN at an offset of the TCP
// header, else goes on at a label.
func (a *assembler) option(off uint32, otherwise string) {
	a.load(14+off, 1)
	a.unless(bpf.JumpEqual, 30, otherwise)
	a.load(14+off+2, 1)
	a.when(bpf.JumpLessThan, 0x20, "accept")
	a.jump(otherwise)
}

// erspan moves X to the mirrored Ethernet frame, see Decapsulate.
func (a *assembler) erspan() {
	a.load(12, 2)
	a.unless(bpf.JumpEqual, 0x8100, "outer")
	a.forward(4)
	a.load(12, 2)
	a.label("outer")
	a.when(bpf.JumpEqual, 0x86dd, "outer6")
	a.unless(bpf.JumpEqual, 0x0800, "drop")
	a.load(14+9, 1)
	a.unless(bpf.JumpEqual, 47, "drop")
	a.load(14, 1)
	a.add(
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 15},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.TAX{})
	a.jump("gre")
	a.label("outer6")
	a.load(14+6, 1)
	a.unless(bpf.JumpEqual, 47, "drop")
	a.forward(40)
	a.label("gre")
	// Scratch 1: the ERSPAN header's length.
	a.load(14+2, 2)
	a.when(bpf.JumpEqual, 0x22eb, "type3")
	a.unless(bpf.JumpEqual, 0x88be, "drop")
	a.load(14, 1)
	a.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x10}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 1}) // 8 with a sequence number, else 0
	a.add(bpf.StoreScratch{Src: bpf.RegA, N: 1})
	a.jump("fields")
	a.label("type3")
	a.add(bpf.LoadConstant{Dst: bpf.RegA, Val: 12}, bpf.StoreScratch{Src: bpf.RegA, N: 1})
	a.label("fields")
	// The optional GRE fields: checksum, key, sequence number, four bytes each.
	for i, flag := range []uint32{0x80, 0x20, 0x10} {
		absent := fmt.Sprint("absent", i)
		if i == 0 {
			a.load(14, 1)
			a.add(bpf.StoreScratch{Src: bpf.RegA, N: 3})
		} else {
			a.add(bpf.LoadScratch{Dst: bpf.RegA, N: 3})
		}
		a.unless(bpf.JumpBitsSet, flag, absent)
		a.forward(4)
		a.label(absent)
	}
	a.forward(4)
	// Type III may have a platform header: flag O, the last bit of its header.
	a.add(bpf.LoadScratch{Dst: bpf.RegA, N: 1})
	a.unless(bpf.JumpEqual, 12, "mirrored")
	a.load(14+11, 1)
	a.unless(bpf.JumpBitsSet, 1, "noplatform")
	a.forward(8)
	a.label("noplatform")
	a.add(bpf.LoadScratch{Dst: bpf.RegA, N: 1})
	a.label("mirrored")
	a.add(bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 14}, bpf.TAX{})
}
