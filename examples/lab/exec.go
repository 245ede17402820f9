package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// run runs a tool to its end; what it prints goes into the error.
func run(ctx context.Context, name string, args ...string) error {
	_, err := runIn(ctx, "", name, args...)
	return err
}

// runIn also gives the tool an input, and gives back what it printed.
func runIn(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("run %s: %w: %s", strings.Join(append([]string{name}, args...), " "), err,
			strings.TrimSpace(stderr.String()+stdout.String()))
	}
	return stdout.String(), nil
}

// batch collects command lines for ip -batch or tc -batch.
type batch []string

func (b *batch) add(format string, a ...any) { *b = append(*b, fmt.Sprintf(format, a...)) }

// run runs the lines in a namespace, in one process. flags go before them.
func (b batch) run(ctx context.Context, tool, namespace string, flags ...string) error {
	if len(b) == 0 {
		return nil
	}
	_, err := runIn(ctx, strings.Join(b, "\n")+"\n", tool, append(flags, "-n", namespace, "-batch", "-")...)
	return err
}

// inNamespace gives the command line that runs args in a namespace.
func inNamespace(namespace string, args ...string) []string {
	return append([]string{"ip", "netns", "exec", namespace}, args...)
}
