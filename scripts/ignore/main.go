// Command ignore prints what BuildKit sends of folders with an ignore file: the file is read by moby's reader, and the folder
// is walked by fsutil with its rules, as BuildKit's client does.
//
// It reads questions from standard input, one JSON document a line, and prints an answer for each in the same form.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"
)

// A question is a folder, and the text of an ignore file for it.
type question struct {
	Folder string `json:"folder"`
	Ignore string `json:"ignore"`
}

// An answer has an error, or the paths that are sent, with a slash at the end of folders.
type answer struct {
	Error string   `json:"error,omitempty"`
	Sent  []string `json:"sent"`
}

func main() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var asked question
		err := in.Decode(&asked)
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = out.Encode(asked.walk())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func (q question) walk() answer {
	excludes, err := ignorefile.ReadAll(strings.NewReader(q.Ignore))
	if err != nil {
		return answer{Error: err.Error()}
	}
	sent := []string{}
	filter := &fsutil.FilterOpt{ExcludePatterns: excludes}
	err = fsutil.WalkDir(context.Background(), q.Folder, filter, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			path += "/"
		}
		sent = append(sent, path)
		return nil
	})
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Sent: sent}
}
