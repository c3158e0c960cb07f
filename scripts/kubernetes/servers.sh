# shellcheck shell=bash disable=SC2034,SC2154,SC2054 # `cluster` sources it and sets these names
# The servers of the node and their arguments, which are the same for `cluster up` and every `cluster start`.

servers=(etcd containerd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kube-router)

command_of() { # command_of SERVER: sets the array command
  local conf=$state/conf pki=$state/pki
  case $1 in
  etcd)
    command=("$(deb etcd-server "$(host_arch)")/usr/bin/etcd" --name node --data-dir "$data/etcd"
      --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
      --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380
      --initial-cluster node=http://127.0.0.1:2380)
    ;;
  containerd) command=(containerd --config "$conf/containerd.toml") ;;
  kube-apiserver)
    # OwnerReferencesPermissionEnforcement is on in many clusters and needs rights that nothing else needs.
    # The short tolerations, with the manager's short grace period, let a test observe a lost node within half a minute.
    command=("$programs" kube-apiserver --etcd-servers=http://127.0.0.1:2379
      --bind-address="$address" --advertise-address="$address" --secure-port=6443
      --service-cluster-ip-range="$services.0/16" --authorization-mode=Node,RBAC --allow-privileged=true
      --enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement
      --default-not-ready-toleration-seconds=10 --default-unreachable-toleration-seconds=10
      --audit-policy-file="$conf/audit.yaml" --audit-log-path="$data/audit.log" --audit-log-maxsize=4096
      --client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --cert-dir="$pki"
      --kubelet-certificate-authority="$pki/ca.crt"
      --kubelet-client-certificate="$pki/apiserver-kubelet.crt" --kubelet-client-key="$pki/apiserver-kubelet.key"
      --kubelet-preferred-address-types=InternalIP
      --service-account-issuer=https://kubernetes.default.svc.cluster.local
      --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key")
    ;;
  kube-controller-manager)
    # With the default rate limit the first service account takes 4 s longer.
    command=("$programs" kube-controller-manager --kubeconfig="$conf/kube-controller-manager" --bind-address=127.0.0.1 --leader-elect=false
      --kube-api-qps=500 --kube-api-burst=500 --node-monitor-period=2s --node-monitor-grace-period=16s
      --use-service-account-credentials --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" --cert-dir="$pki"
      --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" --flex-volume-plugin-dir="$data/volume-plugins")
    ;;
  kube-scheduler)
    command=("$programs" kube-scheduler --kubeconfig="$conf/kube-scheduler" --bind-address=127.0.0.1 --leader-elect=false --cert-dir="$pki")
    ;;
  kubelet)
    command=("$programs" kubelet --config="$conf/kubelet.yaml" --kubeconfig="$conf/kubelet" --root-dir="$data/kubelet" --cert-dir="$pki"
      --hostname-override="$node" --node-ip="$address")
    ;;
  kube-proxy) command=("$programs" kube-proxy --config="$conf/kube-proxy.yaml") ;;
  kube-router)
    # Only what enforces NetworkPolicies: kube-proxy serves Services, the network plugin of the pods is the bridge.
    command=("$("$here/build" kube-router 2>/dev/null)" --kubeconfig="$conf/admin" --hostname-override="$node" --enable-cni=false
      --run-firewall=true --run-router=false --run-service-proxy=false --service-cluster-ip-range="$services.0/16")
    ;;
  # If no node at all is ready, the manager suspects its own network and evicts nothing. Beside this node a lost node counts as lost.
  spare) command=("$here/spare" "https://$address:6443" "$pki") ;;
  *) die "$1 is not a server of the node" "one of ${servers[*]} spare" ;;
  esac
}
answers() { # answers SERVER: is it ready?
  case $1 in
  etcd) inside curl -sf http://127.0.0.1:2379/health ;;
  containerd) [ -S "$state/containerd.sock" ] && inside ctr -a "$state/containerd.sock" version ;;
  kube-apiserver) curl --noproxy '*' -sf --cacert "$state/pki/ca.crt" "https://$address:6443/readyz" ;;
  kube-controller-manager) inside curl -skf https://127.0.0.1:10257/healthz ;;
  kube-scheduler) inside curl -skf https://127.0.0.1:10259/healthz ;;
  kubelet) inside curl -sf http://127.0.0.1:10248/healthz ;;
  kube-proxy) inside curl -sf http://127.0.0.1:10256/healthz ;;
  # It answers before it has done anything. This chain it fills last: pods are protected.
  kube-router) inside curl -sf http://127.0.0.1:20244/healthz && inside iptables -S KUBE-ROUTER-FORWARD | grep -q ' -j ACCEPT$' ;;
  spare) kubectl wait --for=condition=Ready --timeout=5s node/spare ;;
  esac
}

certificates() { # one authority for all; elliptic keys take milliseconds
  local name
  mkdir -m 700 "$state/pki"
  cd "$state/pki" || die "$state/pki cannot be entered"
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key
  openssl req -x509 -new -key ca.key -days 3650 -subj /CN=bakery-kubernetes -out ca.crt \
    -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>/dev/null
  openssl ecparam -name prime256v1 -genkey -noout -out sa.key
  openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
  name=kubernetes.default
  certificate apiserver /CN=kube-apiserver \
    "DNS:kubernetes,DNS:$name,DNS:$name.svc,DNS:$name.svc.cluster.local,DNS:localhost,IP:$services.1,IP:$address"
  certificate kubelet-serving "/CN=$node" "DNS:$node,IP:$address"
  certificate apiserver-kubelet /O=system:masters/CN=apiserver-kubelet
  certificate admin /O=system:masters/CN=admin
  certificate kubelet "/O=system:nodes/CN=system:node:$node"
  for name in kube-controller-manager kube-scheduler kube-proxy; do certificate $name "/CN=system:$name"; done
  for name in admin kubelet kube-controller-manager kube-scheduler kube-proxy; do kubeconfig $name >"$state/conf/$name"; done
  cd "$REPO" || die "$REPO cannot be entered"
}
certificate() { # certificate NAME SUBJECT [OTHER_NAMES]
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  printf '%s\n' keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth,clientAuth ${3:+"subjectAltName=$3"} >"$1.ext"
  openssl req -new -key "$1.key" -subj "$2" 2>/dev/null |
    openssl x509 -req -days 3650 -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}
kubeconfig() { # kubeconfig NAME: it embeds the certificates, so that a copy works anywhere
  cat <<EOF
{apiVersion: v1, kind: Config, current-context: bakery,
 clusters: [{name: bakery, cluster: {server: "https://$address:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}],
 users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}],
 contexts: [{name: bakery, context: {cluster: bakery, user: $1}}]}
EOF
}

snapshotter() { # overlayfs cannot lie on overlayfs, which the disk often is if this machine is a container
  case $(stat -f -c %T "$(disk)") in overlayfs) echo native ;; *) echo overlayfs ;; esac
}
configuration() {
  local conf=$state/conf
  cat >"$conf/containerd.toml" <<EOF
version = 2
root = "$data/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "$state/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$data/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "bakery.local/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$(snapshotter)"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$conf/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$data/certs.d"
EOF
  mkdir -p "$conf/cni"
  cat >"$conf/cni/pods.conflist" <<EOF
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "$bridge", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$data/ipam", "ranges": [[{"subnet": "$pods.0/24", "gateway": "$address"}]],
    "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
  # Each request is logged once, when it is answered: tests count requests with it.
  printf '%s\n' 'apiVersion: audit.k8s.io/v1' 'kind: Policy' 'omitStages: [RequestReceived]' \
    'rules: [{level: Metadata}]' >"$conf/audit.yaml"
  # As docs/kubernetes.md advises: without podPidsLimit a RUN step can start as many processes as the machine allows.
  # A lease of 16 s is renewed every 4 s: a busy machine may miss some renewals within the manager's grace period of 16 s.
  cat >"$conf/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
healthzBindAddress: 127.0.0.1
readOnlyPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $state/pki/kubelet-serving.crt
tlsPrivateKeyFile: $state/pki/kubelet-serving.key
containerRuntimeEndpoint: unix://$state/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$group
failSwapOn: false
failCgroupV1: false
oomScoreAdj: 0
clusterDomain: cluster.local
clusterDNS: [$services.10]
resolvConf: $state/resolv.conf
podLogsDir: $data/pod-logs
volumePluginDir: $data/volume-plugins
serializeImagePulls: false
podPidsLimit: 4096
nodeStatusUpdateFrequency: 4s
nodeStatusReportFrequency: 1m
nodeLeaseDurationSeconds: 16
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
EOF
  # kube-router writes the whole table `filter`: what kube-proxy writes there at the same time can be lost until its next sync.
  cat >"$conf/kube-proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $conf/kube-proxy}
hostnameOverride: $node
mode: iptables
iptables: {syncPeriod: 2s}
clusterCIDR: $pods.0/24
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
nodePortAddresses: [$address/32]
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}
EOF
}
