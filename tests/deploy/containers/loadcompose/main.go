// Loads a Compose file as Docker Compose itself does (schema, interpolation, references between its parts) and prints
// the project that comes out as JSON. Usage: loadcompose FILE
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if err := load(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func load(files []string) error {
	// No environment and no .env file: the file has to stand on its own.
	options, err := cli.NewProjectOptions(files, cli.WithEnv([]string{}), cli.WithResolvedPaths(true))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(project)
}
