package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	span = regexp.MustCompile("`((?:bin/)?mpbox [^`]+)`")
	// A line of a block, alone or behind what it is run by.
	line = regexp.MustCompile(`(?m)^(?:    |\$ )\s*(?:\$ |sudo |ip netns exec \S+ )?((?:bin/)?mpbox .+)$`)
	// A whole block between fences.
	fenced = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```")
	// What follows is the shell's, or for people.
	end = regexp.MustCompile(` [|>#&;(]|  |…`)
)

// Each command line in the documents and in the help texts is one: the command is
// there, and its flags and arguments.
func TestCommandsInDocuments(t *testing.T) {
	n := 0
	try := func(where, text string, whole bool) {
		n++
		if why := tryCommand(text, whole); why != "" {
			t.Errorf("%s: %s: %s", where, text, why)
		}
	}
	for file, text := range documents(t) {
		blocks := regexp.MustCompile(`(?m)^`).ReplaceAllString(strings.Join(fenced.FindAllString(text, -1), "\n"), "    ")
		for _, m := range line.FindAllStringSubmatch(text+"\n"+blocks, -1) {
			try(file, m[1], true)
		}
		for _, m := range span.FindAllStringSubmatch(text, -1) {
			try(file, m[1], false)
		}
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for l := range strings.Lines(c.Example) {
			if l = strings.TrimSpace(l); strings.HasPrefix(l, "mpbox ") {
				try("help of "+c.CommandPath(), l, true)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
	if n < 100 {
		t.Errorf("only %d command lines were found", n)
	}
}

// tryCommand tells what is wrong with a command line; in running text, where the
// arguments may be left out, whole is false.
func tryCommand(text string, whole bool) string {
	if at := end.FindStringIndex(text); at != nil {
		text, whole = text[:at[0]], whole && !strings.Contains(text[at[0]:at[1]], "…")
	}
	words := strings.Fields(strings.NewReplacer("'", "", `"`, "", "[", "", "]", "").Replace(text))[1:]
	cmd, args, err := newRoot().Find(words)
	if err != nil {
		return err.Error()
	}
	if err := cmd.ParseFlags(args); err != nil {
		switch why := err.Error(); {
		case strings.Contains(why, "help requested"):
			return ""
		case strings.Contains(why, "invalid argument"): // N for a number
		case !whole && strings.Contains(why, "needs an argument"):
		default:
			return why
		}
	}
	args = cmd.Flags().Args()
	if err := cmd.ValidateArgs(args); err != nil && (whole || len(args) > 0) {
		return err.Error()
	}
	if err := cmd.ValidateRequiredFlags(); err != nil && whole {
		return err.Error()
	}
	return ""
}

// documents gives every page of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		out[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTryCommand(t *testing.T) {
	for text, want := range map[string]string{
		"mpbox flow lst":                      `unknown command "lst"`,
		"mpbox tap guard --server x":          "unknown flag",
		"mpbox threshold set":                 "requires at least 1 arg",
		"mpbox paths --from A --to B":         `required flag(s) "topology"`,
		"mpbox flow list --vpn red | jq .x":   "",
		"mpbox explain CONNECTION  # a token": "",
	} {
		if got := tryCommand(text, true); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
