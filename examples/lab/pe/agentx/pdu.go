package agentx

// Type is the type of a PDU (RFC 2741, section 6.1).
type Type uint8

// The PDU types a subagent sends or receives.
const (
	TypeOpen       Type = 1
	TypeClose      Type = 2
	TypeRegister   Type = 3
	TypeGet        Type = 5
	TypeGetNext    Type = 6
	TypeGetBulk    Type = 7
	TypeTestSet    Type = 8
	TypeCommitSet  Type = 9
	TypeUndoSet    Type = 10
	TypeCleanupSet Type = 11
	TypePing       Type = 13
	TypeResponse   Type = 18
)

// Header is what all PDUs begin with (RFC 2741, section 6.1), without what
// follows from the body: type, byte order flag and payload length.
type Header struct {
	SessionID, TransactionID, PacketID uint32
	// LittleEndian clears the NETWORK_BYTE_ORDER flag.
	LittleEndian bool
}

// PDU is one protocol data unit.
type PDU struct {
	Header
	// Context is the SNMP context; empty means the default one.
	Context string
	Body    Body
}

// Body is the part of a PDU that follows header and context: one of the types
// of this file.
type Body interface {
	// Type is the PDU's type.
	Type() Type
	encode(e *encoder)
	decode(d *decoder)
}

// Open opens a session (RFC 2741, section 6.2.1).
type Open struct {
	Timeout uint8 // seconds; 0 leaves it to the master
	ID      OID
	Descr   string
}

// Close ends a session (RFC 2741, section 6.2.2).
type Close struct{ Reason uint8 }

// Reasons of a Close.
const (
	CloseOther    uint8 = 1
	CloseShutdown uint8 = 5
)

// Register claims a subtree (RFC 2741, section 6.2.3). Range registration is not
// used.
type Register struct {
	Timeout  uint8
	Priority uint8 // lower wins
	Subtree  OID
}

// Get asks for variables (RFC 2741, section 6.2.5).
type Get struct{ Ranges []SearchRange }

// GetNext asks for the variables that follow (RFC 2741, section 6.2.6).
type GetNext struct{ Ranges []SearchRange }

// GetBulk asks for many that follow (RFC 2741, section 6.2.7).
type GetBulk struct {
	NonRepeaters, MaxRepetitions uint16
	Ranges                       []SearchRange
}

// TestSet is the first phase of a SET (RFC 2741, section 6.2.8).
type TestSet struct{ VarBinds []VarBind }

// CommitSet is the second phase of a SET (RFC 2741, section 6.2.9).
type CommitSet struct{}

// UndoSet takes a committed SET back (RFC 2741, section 6.2.9).
type UndoSet struct{}

// CleanupSet is the last phase of a SET (RFC 2741, section 6.2.9).
type CleanupSet struct{}

// Ping asks whether the session is alive (RFC 2741, section 6.2.11).
type Ping struct{}

// Response answers a PDU (RFC 2741, section 6.2.16).
type Response struct {
	SysUpTime uint32 // hundredths of a second; the master fills it
	Error     ErrorCode
	Index     uint16 // 1-based position of the variable at fault
	VarBinds  []VarBind
}

// Type is TypeOpen.
func (*Open) Type() Type { return TypeOpen }

// Type is TypeClose.
func (*Close) Type() Type { return TypeClose }

// Type is TypeRegister.
func (*Register) Type() Type { return TypeRegister }

// Type is TypeGet.
func (*Get) Type() Type { return TypeGet }

// Type is TypeGetNext.
func (*GetNext) Type() Type { return TypeGetNext }

// Type is TypeGetBulk.
func (*GetBulk) Type() Type { return TypeGetBulk }

// Type is TypeTestSet.
func (*TestSet) Type() Type { return TypeTestSet }

// Type is TypeCommitSet.
func (*CommitSet) Type() Type { return TypeCommitSet }

// Type is TypeUndoSet.
func (*UndoSet) Type() Type { return TypeUndoSet }

// Type is TypeCleanupSet.
func (*CleanupSet) Type() Type { return TypeCleanupSet }

// Type is TypePing.
func (*Ping) Type() Type { return TypePing }

// Type is TypeResponse.
func (*Response) Type() Type { return TypeResponse }

func newBody(t Type) Body {
	switch t {
	case TypeOpen:
		return &Open{}
	case TypeClose:
		return &Close{}
	case TypeRegister:
		return &Register{}
	case TypeGet:
		return &Get{}
	case TypeGetNext:
		return &GetNext{}
	case TypeGetBulk:
		return &GetBulk{}
	case TypeTestSet:
		return &TestSet{}
	case TypeCommitSet:
		return &CommitSet{}
	case TypeUndoSet:
		return &UndoSet{}
	case TypeCleanupSet:
		return &CleanupSet{}
	case TypePing:
		return &Ping{}
	case TypeResponse:
		return &Response{}
	}
	return nil
}

// hasContext: Response, Open, Close and the later phases of a SET carry none
// (RFC 2741, section 6.1.1).
func (t Type) hasContext() bool {
	switch t {
	case TypeRegister, TypeGet, TypeGetNext, TypeGetBulk, TypeTestSet, TypePing:
		return true
	default:
		return false
	}
}

func (b *Open) encode(e *encoder) {
	e.u8(b.Timeout)
	e.zero(3)
	e.oid(b.ID, false)
	e.octets([]byte(b.Descr))
}

func (b *Open) decode(d *decoder) {
	b.Timeout = d.u8()
	d.skip(3)
	b.ID, _ = d.oid()
	b.Descr = string(d.octets())
}

func (b *Close) encode(e *encoder) { e.u8(b.Reason); e.zero(3) }
func (b *Close) decode(d *decoder) { b.Reason = d.u8(); d.skip(3) }

func (b *Register) encode(e *encoder) {
	e.u8(b.Timeout)
	e.u8(b.Priority)
	e.zero(2) // range_subid, reserved
	e.oid(b.Subtree, false)
}

func (b *Register) decode(d *decoder) {
	b.Timeout = d.u8()
	b.Priority = d.u8()
	if d.u8() != 0 {
		d.fail("range registration is not supported")
	}
	d.skip(1)
	b.Subtree, _ = d.oid()
}

func (b *Get) encode(e *encoder)     { e.ranges(b.Ranges) }
func (b *Get) decode(d *decoder)     { b.Ranges = d.ranges() }
func (b *GetNext) encode(e *encoder) { e.ranges(b.Ranges) }
func (b *GetNext) decode(d *decoder) { b.Ranges = d.ranges() }

func (b *GetBulk) encode(e *encoder) {
	e.u16(b.NonRepeaters)
	e.u16(b.MaxRepetitions)
	e.ranges(b.Ranges)
}

func (b *GetBulk) decode(d *decoder) {
	b.NonRepeaters = d.u16()
	b.MaxRepetitions = d.u16()
	b.Ranges = d.ranges()
}

func (b *TestSet) encode(e *encoder) { e.varBinds(b.VarBinds) }
func (b *TestSet) decode(d *decoder) { b.VarBinds = d.varBinds() }
func (*CommitSet) encode(*encoder)   {}
func (*CommitSet) decode(*decoder)   {}
func (*UndoSet) encode(*encoder)     {}
func (*UndoSet) decode(*decoder)     {}
func (*CleanupSet) encode(*encoder)  {}
func (*CleanupSet) decode(*decoder)  {}
func (*Ping) encode(*encoder)        {}
func (*Ping) decode(*decoder)        {}

func (b *Response) encode(e *encoder) {
	e.u32(b.SysUpTime)
	e.u16(uint16(b.Error))
	e.u16(b.Index)
	e.varBinds(b.VarBinds)
}

func (b *Response) decode(d *decoder) {
	b.SysUpTime = d.u32()
	b.Error = ErrorCode(d.u16())
	b.Index = d.u16()
	b.VarBinds = d.varBinds()
}
