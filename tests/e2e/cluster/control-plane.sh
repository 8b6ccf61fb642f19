# shellcheck shell=bash disable=SC2034 # variables are for the other files
# Credentials and the programs that make up the API, for both modes. They are started by `start NAME COMMAND...`, which
# each mode has its own of. $STATE/programs holds them, SERVER is the address of the API, SERVICES the range of the
# addresses of Services.

# name USER,GROUP of everybody who talks to the API, each with a token; see `--token-auth-file`
USERS=(
	'admin admin,system:masters'
	'controller-manager system:kube-controller-manager,'
	'scheduler system:kube-scheduler,'
	'proxy system:kube-proxy,system:node-proxier'
	'kubelet system:node:node,system:nodes'
	'addresses addresses,system:masters'
)

# make_credentials ADDRESS...: where the API server answers
make_credentials() {
	local keys=$STATE/keys names='DNS:localhost,DNS:kubernetes.default.svc,DNS:kubernetes.default,DNS:kubernetes' address user groups token
	private_directory "$keys"
	for address; do names+=",IP:$address"; done
	make_certificate ca 'basicConstraints=critical,CA:TRUE' 'keyUsage=critical,keyCertSign'
	# also what the API server shows to the kubelet
	make_certificate apiserver 'basicConstraints=critical,CA:FALSE' 'extendedKeyUsage=serverAuth,clientAuth' "subjectAltName=$names"
	make_certificate tokens # of ServiceAccounts are signed with it
	for user in "${USERS[@]}"; do
		read -r user groups <<<"$user"
		token=$(openssl rand -hex 20)
		say "$token,${groups%%,*},$user,\"${groups#*,}\"" >>"$keys/tokens.csv"
		make_kubeconfig "$user" "$token"
	done
}

# make_certificate NAME EXTENSION...: signed by the CA, if there is one already
make_certificate() {
	local name=$1 keys=$STATE/keys arguments=() extension
	shift
	for extension; do arguments+=(-addext "$extension"); done
	[ "$name" = ca ] || arguments+=(-CA "$keys/ca.crt" -CAkey "$keys/ca.key")
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 365 -subj "/CN=$name" -config /dev/stdin \
		-keyout "$keys/$name.key" -out "$keys/$name.crt" "${arguments[@]}" 2>"$keys/$name.log" <<<$'[req]\ndistinguished_name=name\n[name]' ||
		die "openssl cannot make the certificate of $name: $(<"$keys/$name.log")"
}

make_kubeconfig() {
	(umask 077 && cat >"$STATE/$1.kubeconfig") <<END
apiVersion: v1
kind: Config
clusters:
- name: $CLUSTER_NAME
  cluster: {server: "https://$SERVER", certificate-authority-data: $(base64 -w0 "$STATE/keys/ca.crt")}
users:
- name: $1
  user: {token: $2}
contexts:
- name: $CLUSTER_NAME
  context: {cluster: $CLUSTER_NAME, user: $1}
current-context: $CLUSTER_NAME
END
}

kubectl() { KUBECACHEDIR=$STATE/kubectl "$STATE/programs/kubectl" --kubeconfig="$STATE/admin.kubeconfig" "$@"; }
api_answers() { kubectl get --raw=/readyz --request-timeout=2s >/dev/null 2>&1; }

start_etcd() { # start_etcd PORT PORT
	local client=http://127.0.0.1:$1 peer=http://127.0.0.1:$2
	start etcd "$STATE/programs/etcd" --data-dir="$STATE/etcd" --unsafe-no-fsync --log-level=warn \
		--listen-client-urls="$client" --advertise-client-urls="$client" \
		--listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="default=$peer"
}

# What the tests write and Kubernetes drops without these
FEATURES=ClusterTrustBundle=true,ClusterTrustBundleProjection=true,CrossNamespaceVolumeDataSource=true

start_apiserver() { # start_apiserver PORT_OF_ETCD FLAG...
	local keys=$STATE/keys etcd=$1
	shift
	start kube-apiserver "$STATE/programs/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd" --secure-port="${SERVER##*:}" \
		--service-cluster-ip-range="$SERVICES" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
		--allow-privileged=true --token-auth-file="$keys/tokens.csv" --profiling=false \
		--tls-cert-file="$keys/apiserver.crt" --tls-private-key-file="$keys/apiserver.key" \
		--service-account-issuer=https://kubernetes.default.svc --service-account-signing-key-file="$keys/tokens.key" \
		--service-account-key-file="$keys/tokens.crt" --feature-gates="$FEATURES" \
		--runtime-config=certificates.k8s.io/v1beta1/clustertrustbundles=true "$@"
}

# The default limit of requests costs seconds when everything starts. A node that says nothing for a while stays what it
# was: when the API server was stopped on purpose, nobody shall take it for the death of the node.
start_controllers() {
	local kubeconfig=$STATE/controller-manager.kubeconfig
	start kube-controller-manager "$STATE/programs/kube-controller-manager" --kubeconfig="$kubeconfig" --secure-port=0 \
		--leader-elect=false --kube-api-qps=500 --kube-api-burst=1000 --node-monitor-grace-period=15m \
		--use-service-account-credentials=true --service-account-private-key-file="$STATE/keys/tokens.key" \
		--root-ca-file="$STATE/keys/ca.crt"
}

has_controllers() { kubectl get serviceaccount default; }
