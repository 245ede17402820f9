package controller

import (
	"encoding/json"
	"testing"
	"time"

	"mpbox/apps/tunnelmanager"
	"mpbox/apps/tunnelmanager/plan"
)

// Operations are shown as the manager has them; only the release that a plan leaves for
// later is looked up when it is asked for.
func TestOperationsOfAPlan(t *testing.T) {
	bind := tunnelmanager.Op{Step: plan.Step{N: 2, PE: "pe1", Op: plan.OpBind, LSP: "new", Demand: "d", Direction: "forward", Slot: 1, After: []int{1}},
		FTN: "entry", State: tunnelmanager.OpFailed, Failure: tunnelmanager.Failure{Step: "SET row", Detail: "no", Remedy: "make room", At: time.Unix(1, 0).UTC()}}
	release := tunnelmanager.Op{Step: plan.Step{N: 3, PE: "pe1", Op: plan.OpRelease, LSP: "old", After: []int{2}}, State: tunnelmanager.OpWaiting}
	view := newManager(t).View()
	for state, released := range map[tunnelmanager.PlanState]string{tunnelmanager.PlanDone: "done", tunnelmanager.PlanRunning: "waiting", tunnelmanager.PlanSuperseded: "waiting"} {
		b, err := json.Marshal(planView(view, &tunnelmanager.Plan{State: state, Ops: []tunnelmanager.Op{bind, release}}).Ops)
		if err != nil {
			t.Fatal(err)
		}
		want := `[{"n":2,"pe":"pe1","op":"bind","lsp":"new","ftn":"entry","demand":"d","direction":"forward","slot":1,"route":[],"after":[1],"state":"failed",` +
			`"error":{"step":"SET row","detail":"no","remedy":"make room","at":"1970-01-01T00:00:01Z"}},` +
			`{"n":3,"pe":"pe1","op":"release","lsp":"old","route":[],"after":[2],"state":"` + released + `"}]`
		if string(b) != want {
			t.Errorf("%s:\n%s\nwant\n%s", state, b, want)
		}
	}
}
