package mib

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"mpbox/examples/lab/pe/agentx"
	"mpbox/examples/lab/pe/router"
)

// fault is why a variable or a row is refused.
type fault struct {
	code agentx.ErrorCode
	why  string
}

func refuse(code agentx.ErrorCode, format string, args ...any) *fault {
	return &fault{code, fmt.Sprintf(format, args...)}
}

// write is a variable of a SET that lies in a table.
type write struct {
	pos   int // in the SET
	col   uint32
	value agentx.Value
}

// table is a table of conceptual rows that can be created by SNMP.
type table interface {
	// column splits the name of a variable; false where it is not of this table.
	column(name agentx.OID) (col uint32, index []uint32, ok bool)
	name(col uint32, index []uint32) string
	// check refuses a value that no row could take.
	check(col uint32, v agentx.Value) *fault
	// destroys tells whether the writes destroy the row.
	destroys(ws []write) bool
	// apply carries out all writes to one row; pos is the variable at fault.
	apply(c *router.Config, index []uint32, ws []write, f router.Faults) (pos int, err *fault)
	// show adds the table's variables to a view.
	show(v *view)
}

// Test is agentx.Handler's: the first phase of a SET.
func (h *Handler) Test(vbs []agentx.VarBind) (agentx.Transaction, error) {
	faults := h.r.Faults()
	what := make([]string, len(vbs))
	for i, vb := range vbs {
		what[i] = h.describe(vb)
	}
	base := h.r.Config()
	next, err := h.test(base, vbs, faults)
	if err != nil {
		h.r.RecordSet(what, err)
		return nil, err
	}
	return &set{h: h, base: base, next: next, what: what}, nil
}

func (h *Handler) test(base *router.Config, vbs []agentx.VarBind, faults router.Faults) (*router.Config, error) {
	type row struct {
		t     table
		index []uint32
		ws    []write
	}
	var rows []*row
	for i, vb := range vbs {
		t, col, index := h.find(vb.Name)
		if t == nil {
			return nil, &agentx.SetError{Code: agentx.NotWritable, Index: i, Why: "no writable object"}
		}
		if f := t.check(col, vb.Value); f != nil {
			return nil, &agentx.SetError{Code: f.code, Index: i, Why: f.why}
		}
		w := write{i, col, vb.Value}
		at := slices.IndexFunc(rows, func(r *row) bool { return r.t == t && slices.Equal(r.index, index) })
		if at < 0 {
			rows = append(rows, &row{t, index, []write{w}})
			continue
		}
		if slices.ContainsFunc(rows[at].ws, func(o write) bool { return o.col == col }) {
			return nil, &agentx.SetError{Code: agentx.InconsistentValue, Index: i, Why: "variable is in the SET twice"}
		}
		rows[at].ws = append(rows[at].ws, w)
	}
	next := base.Clone()
	todo := rows
	// The variables of a SET have no order (RFC 3416, section 4.2.5), yet a row may
	// need another one of the same SET: those that fail are tried again after the
	// others, destroyed rows before new ones.
	for _, destroys := range []bool{true, false} {
		for {
			var failed []*row
			var first *agentx.SetError
			for _, r := range todo {
				if destroys && !r.t.destroys(r.ws) {
					failed = append(failed, r)
					continue
				}
				pos, f := r.t.apply(next, r.index, r.ws, faults)
				if f == nil {
					continue
				}
				failed = append(failed, r)
				if first == nil || pos < first.Index {
					first = &agentx.SetError{Code: f.code, Index: pos, Why: f.why}
				}
			}
			progress := len(failed) < len(todo)
			todo = failed
			if first == nil {
				break
			}
			if !progress {
				return nil, first
			}
		}
	}
	return next, nil
}

func (h *Handler) find(name agentx.OID) (table, uint32, []uint32) {
	for _, t := range h.tables {
		if col, index, ok := t.column(name); ok {
			return t, col, index
		}
	}
	return nil, 0, nil
}

func (h *Handler) describe(vb agentx.VarBind) string {
	if t, col, index := h.find(vb.Name); t != nil {
		return t.name(col, index) + " = " + vb.Value.String()
	}
	return vb.String()
}

// set is a SET that passed its test.
type set struct {
	h          *Handler
	base, next *router.Config
	what       []string
	committed  bool
}

func (s *set) Commit() error {
	if s.committed {
		return nil
	}
	err := s.h.r.Commit(s.base, s.next)
	if errors.Is(err, router.ErrConflict) {
		s.h.r.RecordSet(s.what, err)
		return &agentx.SetError{Code: agentx.CommitFailed, Why: err.Error()}
	}
	if err != nil {
		s.h.r.RecordSet(s.what, err)
		return err
	}
	s.committed = true
	// Now, not at cleanup: it is in the log before the manager has its answer.
	s.h.r.RecordSet(s.what, nil)
	return nil
}

func (s *set) Undo() error {
	if !s.committed {
		return nil
	}
	s.committed = false
	err := s.h.r.Commit(s.next, s.base)
	s.h.r.RecordSet(s.what, errors.Join(errors.New("undone by the master agent"), err))
	return err
}

func (s *set) Cleanup() {
	s.committed = false
	s.h.r.MayDie()
}

// column describes a column of a table of rows T. A column without set is
// read-only, one without get not accessible.
type column[T any] struct {
	num   uint32
	name  string
	kind  agentx.ValueType
	check func(v agentx.Value) *fault
	set   func(row *T, v agentx.Value)
	get   func(x *cell[T]) agentx.Value
	// live columns may be written while the row is active.
	live bool
}

// cell is what a column's value may depend on.
type cell[T any] struct {
	*view
	index []uint32
	row   T
	lsp   *router.LSP // of a tunnel
}

// rows is a table whose rows are T.
type rows[T any] struct {
	entry   agentx.OID
	columns []column[T]
	status  uint32 // the RowStatus column
	// foreign rows are shown but belong to the CLI; may be nil.
	foreign func(c *router.Config, index []uint32) bool
	// valid tells whether a row of that index may be created.
	valid func(c *router.Config, index []uint32) *fault
	get   func(c *router.Config, index []uint32) (T, bool)
	put   func(c *router.Config, index []uint32, row T)
	del   func(c *router.Config, index []uint32) *fault
	// fresh is a row with the default values.
	fresh func() T
	state func(row *T) *router.RowStatus
	// ready tells whether the row could be active.
	ready func(c *router.Config, index []uint32, row T) *fault
	// refused tells whether a fault refuses new and changed rows.
	refused func(f router.Faults) bool
	list    func(v *view) []cell[T]
}

func (t *rows[T]) column(name agentx.OID) (uint32, []uint32, bool) {
	if !name.HasPrefix(t.entry) || len(name) == len(t.entry) {
		return 0, nil, false
	}
	col := name[len(t.entry)]
	if t.col(col) == nil {
		return 0, nil, false
	}
	return col, name[len(t.entry)+1:], true
}

func (t *rows[T]) col(n uint32) *column[T] {
	for i := range t.columns {
		if t.columns[i].num == n {
			return &t.columns[i]
		}
	}
	return nil
}

func (t *rows[T]) name(col uint32, index []uint32) string {
	return t.col(col).name + "." + agentx.OID(index).String()
}

func (t *rows[T]) check(n uint32, v agentx.Value) *fault {
	c := t.col(n)
	if c.set == nil && n != t.status {
		return refuse(agentx.NotWritable, "%s is read-only", c.name)
	}
	if v.Type != c.kind {
		return refuse(agentx.WrongType, "%s is %v, not %v", c.name, c.kind, v.Type)
	}
	if n == t.status {
		if s := v.Int32(); s < 1 || s > 6 || s == int32(router.NotReady) {
			return refuse(agentx.WrongValue, "%s cannot be set to %d", c.name, s)
		}
		return nil
	}
	if c.check != nil {
		return c.check(v)
	}
	return nil
}

func (t *rows[T]) destroys(ws []write) bool {
	return slices.ContainsFunc(ws, func(w write) bool {
		return w.col == t.status && router.RowStatus(w.value.Int32()) == router.Destroy
	})
}

// apply is RFC 2579's RowStatus, all writes to the row taken as one.
func (t *rows[T]) apply(c *router.Config, index []uint32, ws []write, f router.Faults) (int, *fault) {
	first := ws[0].pos
	action, statusPos := router.RowStatus(0), first
	for _, w := range ws {
		if w.col == t.status {
			action, statusPos = router.RowStatus(w.value.Int32()), w.pos
		}
	}
	if t.foreign != nil && t.foreign(c, index) {
		return first, refuse(agentx.NotWritable, "row belongs to the CLI")
	}
	row, exists := t.get(c, index)
	if action == router.Destroy {
		if !exists {
			return 0, nil
		}
		return statusPos, t.del(c, index)
	}
	creates := action == router.CreateAndGo || action == router.CreateAndWait
	switch {
	case exists && creates:
		return statusPos, refuse(agentx.InconsistentValue, "row exists")
	case !exists && action == 0:
		return first, refuse(agentx.InconsistentName, "row does not exist")
	case !exists && !creates:
		return statusPos, refuse(agentx.InconsistentValue, "row does not exist")
	case !exists:
		if flt := t.valid(c, index); flt != nil {
			return first, flt
		}
		row = t.fresh()
	}
	if t.refused != nil && t.refused(f) {
		return statusPos, refuse(agentx.ResourceUnavailable, "out of resources")
	}
	state := t.state(&row)
	stays := exists && *state == router.Active && action != router.NotInService
	for _, w := range ws {
		col := t.col(w.col)
		if w.col == t.status {
			continue
		}
		if stays && !col.live {
			return w.pos, refuse(agentx.InconsistentValue, "%s cannot change while the row is active", col.name)
		}
		col.set(&row, w.value)
	}
	unready := t.ready(c, index, row)
	switch action {
	case router.Active, router.CreateAndGo:
		if unready != nil {
			return statusPos, unready
		}
		*state = router.Active
	case router.NotInService:
		if unready != nil {
			return statusPos, unready
		}
		*state = router.NotInService
	default:
		switch {
		case stays && unready != nil:
			return first, unready
		case stays:
		case unready != nil:
			*state = router.NotReady
		default:
			*state = router.NotInService
		}
	}
	t.put(c, index, row)
	return 0, nil
}

func (t *rows[T]) show(v *view) {
	for _, x := range t.list(v) {
		for i := range t.columns {
			if col := &t.columns[i]; col.get != nil {
				v.add(t.entry, col.get(&x), append([]uint32{col.num}, x.index...)...)
			}
		}
	}
}

// Checks of values.

func between(lo, hi int32) func(agentx.Value) *fault {
	return func(v agentx.Value) *fault {
		if n := v.Int32(); n < lo || n > hi {
			return refuse(agentx.WrongValue, "%d is not in %d..%d", n, lo, hi)
		}
		return nil
	}
}

func atMost(hi uint64) func(agentx.Value) *fault {
	return func(v agentx.Value) *fault {
		if v.Num > hi {
			return refuse(agentx.WrongValue, "%d is more than %d", v.Num, hi)
		}
		return nil
	}
}

func length(ok ...int) func(agentx.Value) *fault {
	return func(v agentx.Value) *fault {
		if !slices.Contains(ok, len(v.Bytes)) {
			return refuse(agentx.WrongLength, "%d octets", len(v.Bytes))
		}
		return nil
	}
}

func upTo(n int) func(agentx.Value) *fault {
	return func(v agentx.Value) *fault {
		if len(v.Bytes) > n {
			return refuse(agentx.WrongLength, "%d octets, at most %d", len(v.Bytes), n)
		}
		return nil
	}
}

// bits checks a BITS value of up to n bits.
func bits(n int) func(agentx.Value) *fault {
	return func(v agentx.Value) *fault {
		if len(v.Bytes) > 1 {
			return refuse(agentx.WrongLength, "%d octets of BITS", len(v.Bytes))
		}
		if len(v.Bytes) == 1 && v.Bytes[0]<<n != 0 {
			return refuse(agentx.WrongValue, "BITS %x", v.Bytes)
		}
		return nil
	}
}

func firstByte(v agentx.Value) uint8 {
	if len(v.Bytes) == 0 {
		return 0
	}
	return v.Bytes[0]
}

// setStorage: nothing is kept in ROM here.
var checkStorage = between(1, 3)

func since(v *view, t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return v.now.Sub(t)
}
