// Reads manifests as kubectl does, with kubectl's own library: each line of the input is a file in base64, each line of the
// output what was read of it, {"objects": [...]} or {"error": "..."}.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"

	"k8s.io/cli-runtime/pkg/resource"
)

type answer struct {
	Objects []json.RawMessage `json:"objects"`
	Error   string            `json:"error,omitempty"`
}

func read(file []byte) answer {
	infos, err := resource.NewLocalBuilder().Unstructured().Stream(bytes.NewReader(file), "file").Flatten().Do().Infos()
	if err != nil {
		return answer{Error: err.Error()}
	}
	read := answer{Objects: []json.RawMessage{}}
	for _, info := range infos {
		object, err := json.Marshal(info.Object)
		if err != nil {
			return answer{Error: err.Error()}
		}
		read.Objects = append(read.Objects, bytes.TrimSpace(object))
	}
	return read
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	out := bufio.NewWriter(os.Stdout)
	encode := json.NewEncoder(out)
	for lines.Scan() {
		file, err := base64.StdEncoding.DecodeString(lines.Text())
		if err != nil {
			panic(err)
		}
		if err := encode.Encode(read(file)); err != nil {
			panic(err)
		}
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
	if err := out.Flush(); err != nil {
		panic(err)
	}
}
