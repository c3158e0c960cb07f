// Kubernetes' five servers in one executable, since they share nearly all of their code: named by a link or by the first argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func command(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return manager.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kube-proxy":
		return proxy.NewProxyCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand()
	}
	return nil
}

func main() {
	server := command(filepath.Base(os.Args[0]))
	if server == nil && len(os.Args) > 1 {
		server = command(os.Args[1])
		os.Args = os.Args[1:]
	}
	if server == nil {
		fmt.Fprintln(os.Stderr, "usage: servers kube-apiserver|kube-controller-manager|kube-scheduler|kube-proxy|kubelet [OPTION...]")
		os.Exit(2)
	}
	os.Exit(cli.Run(server))
}
