// Prints the files that a build sees of a folder, one a line, by the folder's .dockerignore and the library with which
// the builders themselves read it. Usage: buildcontext FOLDER
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

func main() {
	if err := list(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func list(folder string) error {
	file, err := os.Open(filepath.Join(folder, ".dockerignore"))
	if err != nil {
		return err
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		return err
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return err
	}
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(folder, path)
		if err != nil || name == "." {
			return err
		}
		if entry.IsDir() && (name == ".git" || name == ".venv") {
			return filepath.SkipDir // large, and named by no exception
		}
		ignored, err := matcher.MatchesOrParentMatches(name)
		if err == nil && !ignored && !entry.IsDir() {
			fmt.Println(name)
		}
		return err
	})
}
