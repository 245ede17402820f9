package agentx

import "fmt"

// ValueType is the type of a variable's value (RFC 2741, section 5.4).
type ValueType uint16

// The value types.
const (
	Integer        ValueType = 2
	OctetString    ValueType = 4
	Null           ValueType = 5
	ObjectID       ValueType = 6
	IPAddress      ValueType = 64
	Counter32      ValueType = 65
	Gauge32        ValueType = 66 // and Unsigned32
	TimeTicks      ValueType = 67
	Opaque         ValueType = 68
	Counter64      ValueType = 70
	NoSuchObject   ValueType = 128
	NoSuchInstance ValueType = 129
	EndOfMibView   ValueType = 130
)

var valueTypeNames = map[ValueType]string{
	Integer: "INTEGER", OctetString: "OCTET STRING", Null: "NULL", ObjectID: "OBJECT IDENTIFIER",
	IPAddress: "IpAddress", Counter32: "Counter32", Gauge32: "Unsigned32", TimeTicks: "TimeTicks",
	Opaque: "Opaque", Counter64: "Counter64", NoSuchObject: "noSuchObject",
	NoSuchInstance: "noSuchInstance", EndOfMibView: "endOfMibView",
}

func (t ValueType) String() string {
	if s, ok := valueTypeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type(%d)", uint16(t))
}

// Value is the value of a variable. Which field holds it depends on Type.
type Value struct {
	Type ValueType
	// Num holds Counter32, Gauge32, TimeTicks and Counter64, and Integer as the
	// two's complement of its 32 bits.
	Num uint64
	// Bytes holds OctetString, IPAddress and Opaque.
	Bytes []byte
	// OID holds ObjectID.
	OID OID
}

// Int is an Integer value.
func Int(n int32) Value { return Value{Type: Integer, Num: uint64(uint32(n))} }

// Uint is a Gauge32 (or Unsigned32) value.
func Uint(n uint32) Value { return Value{Type: Gauge32, Num: uint64(n)} }

// String is an OctetString value.
func String(s string) Value { return Value{Type: OctetString, Bytes: []byte(s)} }

// Octets is an OctetString value.
func Octets(b []byte) Value { return Value{Type: OctetString, Bytes: b} }

// Pointer is an ObjectID value.
func Pointer(o OID) Value { return Value{Type: ObjectID, OID: o} }

// Int32 gives an Integer's number.
func (v Value) Int32() int32 { return int32(uint32(v.Num)) }

func (v Value) String() string {
	switch v.Type {
	case Integer:
		return fmt.Sprintf("INTEGER %d", v.Int32())
	case OctetString, IPAddress, Opaque:
		for _, c := range v.Bytes {
			if c < ' ' || c > '~' {
				return fmt.Sprintf("%v %x", v.Type, v.Bytes)
			}
		}
		return fmt.Sprintf("%v %q", v.Type, v.Bytes)
	case ObjectID:
		return "OID " + v.OID.String()
	case Counter32, Gauge32, TimeTicks, Counter64:
		return fmt.Sprintf("%v %d", v.Type, v.Num)
	default:
		return v.Type.String()
	}
}

// VarBind is a variable and its value.
type VarBind struct {
	Name  OID
	Value Value
}

func (vb VarBind) String() string { return vb.Name.String() + " = " + vb.Value.String() }

// SearchRange asks for a variable: Start itself (Get), or the first variable
// after Start, or at Start if Include, and before End unless End is empty
// (RFC 2741, section 5.2).
type SearchRange struct {
	Start   OID
	Include bool
	End     OID
}

// ErrorCode is the res.error of a Response (RFC 2741, section 6.2.16).
type ErrorCode uint16

// SNMP errors of a SET (RFC 3416, section 4.2.5), and AgentX's own.
const (
	NoError             ErrorCode = 0
	GenErr              ErrorCode = 5
	NoAccess            ErrorCode = 6
	WrongType           ErrorCode = 7
	WrongLength         ErrorCode = 8
	WrongEncoding       ErrorCode = 9
	WrongValue          ErrorCode = 10
	NoCreation          ErrorCode = 11
	InconsistentValue   ErrorCode = 12
	ResourceUnavailable ErrorCode = 13
	CommitFailed        ErrorCode = 14
	UndoFailed          ErrorCode = 15
	NotWritable         ErrorCode = 17
	InconsistentName    ErrorCode = 18
	OpenFailed          ErrorCode = 256
	NotOpen             ErrorCode = 257
	ParseError          ErrorCode = 266
	RequestDenied       ErrorCode = 267
	ProcessingError     ErrorCode = 268
)

var errorNames = map[ErrorCode]string{
	NoError: "noError", GenErr: "genErr", NoAccess: "noAccess", WrongType: "wrongType",
	WrongLength: "wrongLength", WrongEncoding: "wrongEncoding", WrongValue: "wrongValue",
	NoCreation: "noCreation", InconsistentValue: "inconsistentValue",
	ResourceUnavailable: "resourceUnavailable", CommitFailed: "commitFailed",
	UndoFailed: "undoFailed", NotWritable: "notWritable", InconsistentName: "inconsistentName",
	OpenFailed: "openFailed", NotOpen: "notOpen", ParseError: "parseError",
	RequestDenied: "requestDenied", ProcessingError: "processingError",
}

func (c ErrorCode) String() string {
	if s, ok := errorNames[c]; ok {
		return s
	}
	return fmt.Sprintf("error(%d)", uint16(c))
}
