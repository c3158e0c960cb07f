// Command dockerfile prints what BuildKit reads in Dockerfiles: the tree of its parser, its instructions, the values of its
// shell lexer, and the image that its frontend would make.
//
// It reads questions from standard input, one JSON object a line, and prints an answer for each, one JSON object a line.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// A question is a Dockerfile with what its build is given, or words for the lexer.
type question struct {
	Text []byte `json:"text"`
	// Whether the image is asked for too.
	Build    bool              `json:"build"`
	Args     map[string]string `json:"args"`
	Target   string            `json:"target"`
	Platform string            `json:"platform"`
	// What the base images set, whatever their names are.
	Env     []string `json:"env"`
	OnBuild []string `json:"onbuild"`
	// Words for the lexer, with Env; Text is not read then.
	Words  []string `json:"words"`
	Escape string   `json:"escape"`
}

type answer struct {
	Directives []directive `json:"directives"`
	Syntax     *directive  `json:"syntax"`
	Escape     string      `json:"escape"`
	// Every mistake. After each, its instruction is taken out and the rest is read again.
	Mistakes     []mistake     `json:"mistakes"`
	Instructions []instruction `json:"instructions"`
	Stages       []stage       `json:"stages"`
	Image        *image        `json:"image"`
	BuildError   *mistake      `json:"build_error"`
	Words        []lexed       `json:"words"`
}

type directive struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Line  int    `json:"line"`
}

type mistake struct {
	Start int    `json:"start"`
	End   int    `json:"end"`
	Text  string `json:"text"`
}

type instruction struct {
	Keyword  string    `json:"keyword"`
	Start    int       `json:"start"`
	End      int       `json:"end"`
	Flags    []string  `json:"flags"`
	Heredocs []heredoc `json:"heredocs"`
	Detail   any       `json:"detail"`
}

type heredoc struct {
	Name    string `json:"name"`
	FD      uint   `json:"fd"`
	Expand  bool   `json:"expand"`
	Chomp   bool   `json:"chomp"`
	Content string `json:"content"`
}

// A stage has the number of its first line.
type stage struct {
	Name     string `json:"name"`
	Base     string `json:"base"`
	Platform string `json:"platform"`
	Line     int    `json:"line"`
}

type image struct {
	History []string `json:"history"`
}

// What the lexer makes of a word: as one value, as words, and as the body of a heredoc.
type lexed struct {
	Value lexedText  `json:"value"`
	Words lexedWords `json:"words"`
	Body  lexedText  `json:"body"`
}

type lexedText struct {
	Text  string `json:"text"`
	Error string `json:"error"`
}

type lexedWords struct {
	Words []string `json:"words"`
	Error string   `json:"error"`
}

func main() {
	log.SetOutput(io.Discard)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q question
		if err := decoder.Decode(&q); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			fail(err)
		}
		if err := encoder.Encode(q.answer()); err != nil {
			fail(err)
		}
	}
	if err := out.Flush(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func (q question) answer() answer {
	if q.Words != nil {
		return answer{Words: q.lex()}
	}
	a := answer{}
	if _, value, at, ok := parser.DetectSyntax(q.Text); ok {
		a.Syntax = &directive{"syntax", value, at[0].Start.Line}
	}
	directives := parser.DirectiveParser{}
	text := bytes.TrimPrefix(q.Text, []byte{0xEF, 0xBB, 0xBF})
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		// As parser.Parse does it.
		line = bytes.TrimLeftFunc(bytes.TrimRight(line, "\r\n"), isSpace)
		if d, err := directives.ParseLine(line); err == nil && d != nil {
			a.Directives = append(a.Directives, directive{d.Name, d.Value, d.Location[0].Start.Line})
		}
	}
	a.read(q.Text)
	if q.Build && len(a.Mistakes) == 0 {
		image, err := q.image()
		if err != nil {
			m := located(err)
			a.BuildError = &m
		}
		a.Image = image
	}
	return a
}

func isSpace(r rune) bool { return strings.TrimSpace(string(r)) == "" }

// quiet reports nothing. Comments that configure it need one.
var quiet = linter.New(&linter.Config{Warn: func(string, string, string, string, []parser.Range) {}})

// read gathers mistakes until there is none left, and then the tree.
func (a *answer) read(text []byte) {
	for range 1000 {
		isFrom := func(int) bool { return false }
		result, err := parser.Parse(bytes.NewReader(text))
		if err == nil {
			isFrom = func(line int) bool {
				return slices.ContainsFunc(result.AST.Children, func(node *parser.Node) bool {
					return node.StartLine == line && strings.EqualFold(node.Value, command.From)
				})
			}
			a.Escape = string(result.EscapeToken)
			var stages []instructions.Stage
			if stages, _, err = instructions.Parse(result.AST, quiet); err == nil {
				a.tree(result.AST, stages)
				if len(stages) == 0 {
					a.Mistakes = append(a.Mistakes, mistake{0, 0, "no stages"})
				}
				return
			}
		}
		found := located(err)
		a.Mistakes = append(a.Mistakes, found)
		if found.Start == 0 {
			return
		}
		text = without(text, found, isFrom(found.Start))
	}
}

// without takes the lines of a mistake out. A stage stays one.
func without(text []byte, m mistake, isFrom bool) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	for at := m.Start - 1; at < m.End && at < len(lines); at++ {
		put := ""
		if at == m.Start-1 && isFrom {
			put = "FROM scratch"
		}
		if bytes.HasSuffix(lines[at], []byte("\n")) {
			put += "\n"
		}
		lines[at] = []byte(put)
	}
	return bytes.Join(lines, nil)
}

func located(err error) mistake {
	m := mistake{Text: err.Error()}
	var at *parser.LocationError
	if errors.As(err, &at) && len(at.Locations) > 0 && len(at.Locations[0]) > 0 {
		ranges := at.Locations[0]
		m.Start, m.End = ranges[0].Start.Line, ranges[len(ranges)-1].End.Line
	}
	// These are located before their line is counted.
	if strings.Contains(m.Text, "parser directive can be used") || strings.Contains(m.Text, "invalid escape token") ||
		strings.Contains(m.Text, "greater than max allowed size") {
		m.Start, m.End = m.Start+1, m.End+1
	}
	if strings.Contains(m.Text, "file with no instructions") {
		m.Start, m.End = 0, 0
	}
	return m
}

func (a *answer) tree(ast *parser.Node, stages []instructions.Stage) {
	for _, node := range ast.Children {
		one := instruction{
			Keyword: node.Value, Start: node.StartLine, End: node.EndLine, Flags: node.Flags, Heredocs: []heredoc{},
		}
		for _, h := range node.Heredocs {
			one.Heredocs = append(one.Heredocs, heredoc{h.Name, h.FileDescriptor, h.Expand, h.Chomp, h.Content})
		}
		parsed, err := instructions.ParseInstructionWithLinter(node, quiet)
		if err != nil {
			fail(err)
		}
		one.Detail = detail(parsed)
		a.Instructions = append(a.Instructions, one)
	}
	for _, s := range stages {
		a.Stages = append(a.Stages, stage{s.Name, s.BaseName, s.Platform, s.Location[0].Start.Line})
	}
}

func detail(parsed any) any {
	switch c := parsed.(type) {
	case *instructions.Stage:
		return map[string]any{"name": c.Name, "base": c.BaseName, "platform": c.Platform}
	case *instructions.EnvCommand:
		return pairs(c.Env)
	case *instructions.LabelCommand:
		return pairs(c.Labels)
	case *instructions.ArgCommand:
		all := [][2]any{}
		for _, arg := range c.Args {
			all = append(all, [2]any{arg.Key, arg.Value})
		}
		return all
	case *instructions.AddCommand:
		return map[string]any{
			"paths": all(c.SourcePaths), "contents": contents(c.SourceContents), "dest": c.DestPath, "chown": c.Chown,
			"chmod": c.Chmod, "link": c.Link, "exclude": all(c.ExcludePatterns), "keep_git_dir": c.KeepGitDir,
			"checksum": c.Checksum, "unpack": c.Unpack,
		}
	case *instructions.CopyCommand:
		return map[string]any{
			"paths": all(c.SourcePaths), "contents": contents(c.SourceContents), "dest": c.DestPath, "chown": c.Chown,
			"chmod": c.Chmod, "link": c.Link, "exclude": all(c.ExcludePatterns), "from": c.From, "parents": c.Parents,
		}
	case *instructions.RunCommand:
		return run(c)
	case *instructions.CmdCommand:
		return map[string]any{"command": all(c.CmdLine), "shell": c.PrependShell}
	case *instructions.EntrypointCommand:
		return map[string]any{"command": all(c.CmdLine), "shell": c.PrependShell}
	case *instructions.HealthCheckCommand:
		h := c.Health
		return map[string]any{
			"test": h.Test, "interval": h.Interval, "timeout": h.Timeout, "start_period": h.StartPeriod,
			"start_interval": h.StartInterval, "retries": h.Retries,
		}
	case *instructions.ExposeCommand:
		return c.Ports
	case *instructions.UserCommand:
		return c.User
	case *instructions.VolumeCommand:
		return c.Volumes
	case *instructions.StopSignalCommand:
		return c.Signal
	case *instructions.WorkdirCommand:
		return c.Path
	case *instructions.MaintainerCommand:
		return c.Maintainer
	case *instructions.ShellCommand:
		return c.Shell
	case *instructions.OnbuildCommand:
		return trigger(c.Expression)
	}
	return nil
}

// trigger reads an instruction of ONBUILD, as a build that uses the image does.
func trigger(text string) any {
	result, err := parser.Parse(strings.NewReader(text))
	if err != nil || len(result.AST.Children) != 1 {
		return nil
	}
	node := result.AST.Children[0]
	parsed, err := instructions.ParseInstructionWithLinter(node, quiet)
	if err != nil {
		return nil
	}
	return map[string]any{"keyword": node.Value, "flags": node.Flags, "detail": detail(parsed)}
}

func pairs(of instructions.KeyValuePairs) any {
	found := [][3]any{}
	for _, pair := range of {
		found = append(found, [3]any{pair.Key, pair.Value, pair.NoDelim})
	}
	return found
}

func contents(of []instructions.SourceContent) any {
	found := []map[string]any{}
	for _, content := range of {
		found = append(found, map[string]any{"path": content.Path, "data": content.Data, "expand": content.Expand})
	}
	return found
}

func run(c *instructions.RunCommand) any {
	devices := []map[string]any{}
	for _, d := range instructions.GetDevices(c) {
		devices = append(devices, map[string]any{"name": d.Name, "required": d.Required})
	}
	found := map[string]any{
		"command": all(c.CmdLine), "shell": c.PrependShell, "network": instructions.GetNetwork(c),
		"security": instructions.GetSecurity(c), "devices": devices,
	}
	simple := false
	if len(c.Files) > 0 && len(c.CmdLine) == 1 && c.PrependShell {
		simple = parser.MustParseHeredoc(c.CmdLine[0]) != nil
	}
	found["only_heredoc"] = simple
	mounts := []map[string]any{}
	// Without variables.
	if err := c.Expand(func(word string) (string, error) { return word, nil }); err != nil {
		found["mounts"] = nil
		return found
	}
	for _, m := range instructions.GetMounts(c) {
		mounts = append(mounts, map[string]any{
			"type": m.Type, "from": m.From, "source": m.Source, "target": m.Target, "readonly": m.ReadOnly, "size": m.SizeLimit,
			"id": m.CacheID, "sharing": m.CacheSharing, "required": m.Required, "env": m.Env, "mode": m.Mode, "uid": m.UID,
			"gid": m.GID,
		})
	}
	found["mounts"] = mounts
	return found
}

func all(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}

// A resolver has one config for every image.
type resolver []byte

func (r resolver) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, digest.FromString(ref), r, nil
}

func (q question) image() (*image, error) {
	platform, err := platforms.Parse(q.Platform)
	if err != nil {
		return nil, err
	}
	base := dockerspec.DockerOCIImage{}
	base.Architecture, base.OS, base.Variant = platform.Architecture, platform.OS, platform.Variant
	base.Config.Env, base.Config.OnBuild = q.Env, q.OnBuild
	base.RootFS.DiffIDs = []digest.Digest{digest.FromString("")}
	config, err := json.Marshal(base)
	if err != nil {
		return nil, err
	}
	context, caps := context.Background(), pb.Caps.CapSet(pb.Caps.All())
	result, err := dockerfile2llb.Dockerfile2LLB(context, q.Text, dockerfile2llb.ConvertOpt{
		Config: dockerui.Config{
			BuildArgs: q.Args, Target: q.Target, BuildPlatforms: []ocispecs.Platform{platform},
		},
		TargetPlatform: &platform,
		LLBCaps:        &caps,
		MetaResolver:   resolver(config),
		MainContext:    func() *llb.State { state := llb.Local("context"); return &state }(),
	})
	if err != nil {
		return nil, err
	}
	found := &image{}
	for _, step := range result.Image.History {
		found.History = append(found.History, step.CreatedBy)
	}
	return found, nil
}

func (q question) lex() []lexed {
	found := []lexed{}
	escape := []rune(q.Escape)[0]
	env := shell.EnvsFromSlice(q.Env)
	text := func(err error) string {
		if err != nil {
			return err.Error()
		}
		return ""
	}
	for _, word := range q.Words {
		var one lexed
		value, _, err := shell.NewLex(escape).ProcessWord(word, env)
		one.Value = lexedText{value, text(err)}
		words, err := shell.NewLex(escape).ProcessWords(word, env)
		one.Words = lexedWords{slices.Clone(all(words)), text(err)}
		body := shell.NewLex('\\')
		body.SkipProcessQuotes = true
		value, _, err = body.ProcessWord(word, env)
		one.Body = lexedText{value, text(err)}
		found = append(found, one)
	}
	return found
}
