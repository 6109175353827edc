//go:build tools

// Keeps the commands that are built beside this one in go.mod.
package main

import (
	_ "github.com/yannh/kubeconform/cmd/kubeconform"
	_ "github.com/zegl/kube-score/cmd/kube-score"
)
