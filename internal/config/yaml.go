package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	wantSettings = "must hold listeners and pools"
	wantNoAlias  = "anchors and aliases (&name, *name) are not known here: write the value out"
	wantNoTag    = "tags (!name) are not known here: write the value alone"
)

// checkText finds the first character that YAML does not allow (YAML 1.2, 5.1),
// which its reader would report without the line.
func checkText(data []byte) *Problem {
	if len(bytes.TrimSpace(data)) == 0 {
		return &Problem{Want: "is empty: " + wantSettings}
	}
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			return &Problem{Line: lineAt(data, i), Value: fmt.Sprintf("byte 0x%02x", data[i]),
				Want: "must be text in UTF-8"}
		case c < ' ' && c != '\n' && c != '\r' && c != '\t':
			return &Problem{Line: lineAt(data, i), Value: fmt.Sprintf("byte 0x%02x", c),
				Want: "must be text: this is a binary file, or UTF-16"}
		case c >= 0x7f && c < 0xa0 && c != 0x85, c == 0xfffe, c == 0xffff:
			return &Problem{Line: lineAt(data, i), Value: fmt.Sprintf("%U", c),
				Want: "must be text, without control characters"}
		}
		i += size
	}
	return nil
}

// parseYAML reads the one mapping a file consists of. Nodes are not resolved:
// an alias stays one small node, however much it would expand to.
func parseYAML(data []byte) (*yaml.Node, *Problem) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	switch err := decodeNode(decoder, &document); {
	case errors.Is(err, io.EOF):
		return nil, &Problem{Want: "holds no settings: " + wantSettings}
	case err != nil:
		return nil, syntaxProblem(data, err)
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, &Problem{Want: "holds no settings: " + wantSettings}
	}
	switch {
	case root.Anchor != "":
		return nil, &Problem{Line: root.Line, Want: wantNoAlias}
	case root.Style&yaml.TaggedStyle != 0:
		return nil, &Problem{Line: root.Line, Want: wantNoTag}
	case root.Kind != yaml.MappingNode:
		return nil, &Problem{Line: root.Line, Value: given(root), Want: "must be a mapping, beginning with `listeners:`"}
	}
	var next yaml.Node
	switch err := decodeNode(decoder, &next); {
	case errors.Is(err, io.EOF):
		return root, nil
	case err != nil:
		return nil, syntaxProblem(data, err)
	}
	return nil, &Problem{Line: next.Line, Want: "a second document begins: must be one document, without a `---` line in it"}
}

// decodeNode turns a panic of the YAML reader into an error. It has had some
// on malformed input, and a reload must not end the sessions of a running
// balancer.
func decodeNode(decoder interface{ Decode(any) error }, n *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	return decoder.Decode(n)
}

// syntaxProblem reads the line out of a YAML error ("yaml: line 3: ...") and
// says the most common mistakes in plain words.
func syntaxProblem(data []byte, err error) *Problem {
	line, text := syntaxLine(strings.TrimPrefix(err.Error(), "yaml: "))
	if name, ok := strings.CutPrefix(text, "unknown anchor '"); ok {
		name, _, _ = strings.Cut(name, "'")
		at := lineAt(data, max(0, bytes.Index(data, []byte("*"+name))))
		return &Problem{Line: at, Want: wantNoAlias}
	}
	if at := tabbedLine(data, line); at > 0 {
		return &Problem{Line: at, Want: "must be indented by spaces: this line begins with a tab"}
	}
	want := "not YAML: " + oneLine(text)
	if strings.HasSuffix(text, " key") || strings.HasSuffix(text, " indicator") {
		want += ": the indentation breaks somewhere from this line on"
	}
	return &Problem{Line: line, Want: want}
}

// syntaxLine takes a YAML error apart. The reader leaves the first line out,
// and where its parser, not its scanner, complains it counts from 0; only the
// words tell which of them it was.
func syntaxLine(text string) (int, string) {
	line := 0
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		number, message, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, text = n, message
		}
	}
	switch strings.TrimPrefix(text, "did not find expected ") {
	case "node content", "key", "'-' indicator", "',' or ']'", "',' or '}'", "<document start>":
		line++
	}
	return max(line, 1), text
}

// tabbedLine returns a line that is indented by a tab, the one complained of
// or one beside it (the YAML reader sometimes names a neighbour), else 0.
func tabbedLine(data []byte, line int) int {
	lines := bytes.Split(data, []byte{'\n'})
	for _, n := range []int{line, line + 1, line - 1} {
		if n < 1 || n > len(lines) {
			continue
		}
		text := lines[n-1]
		indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
		if bytes.IndexByte(indent, '\t') >= 0 {
			return n
		}
	}
	return 0
}

// oneLine keeps a message of the YAML reader on one line.
func oneLine(text string) string {
	quoted := quote(text)
	if quoted == `"`+text+`"` {
		return text
	}
	return quoted
}
