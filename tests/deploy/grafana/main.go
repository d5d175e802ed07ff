// Reads a dashboard into Grafana's own types and writes it again: what those do not have is refused, or missing then.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	text, err := io.ReadAll(os.Stdin)
	stopAt(err)
	var strict, found dashboard.Dashboard // the strict way looks at more keys, and keeps no panels
	stopAt(strict.UnmarshalJSONStrict(text))
	stopAt(json.Unmarshal(text, &found))
	stopAt(found.Validate())
	stopAt(json.NewEncoder(os.Stdout).Encode(found))
}

// An empty list of errors is an error that says nothing: the types return it when all is well.
func stopAt(err error) {
	if err != nil && err.Error() != "" {
		fmt.Println(err)
		os.Exit(1)
	}
}
