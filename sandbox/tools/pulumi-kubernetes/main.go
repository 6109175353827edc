// The Kubernetes provider of Pulumi, as its own main builds it but for the embedded schemas: those serve code
// generators and converters alone, never a deployment.
package main

import (
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

func main() {
	provider.Serve("kubernetes", version.Version, []byte("{}"), []byte("{}"))
}
