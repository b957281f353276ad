// An agent made of go-control-plane: serves what it is told on standard input, over a Unix socket.
//
// Input: one JSON object per line, {"type": type URL, "resources": {name: base64 of the serialised message}}.
// Output: "ready", then one JSON object per answer of the client, {"type", "version", "error"}. The version counts the
// lines of the type that the answered response was made after: the first answers may be to no resources at all.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"sync"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	clusters "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpoints "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	listeners "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routes "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
	secrets "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	policies = "type.googleapis.com/cilium.NetworkPolicy"
	hosts    = "type.googleapis.com/cilium.NetworkPolicyHosts"
)

// One cache per type, made when the type is first heard of.
type linear struct {
	mu     sync.Mutex
	caches map[string]*cache.LinearCache
}

func (l *linear) of(url string) *cache.LinearCache {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.caches[url] == nil {
		l.caches[url] = cache.NewLinearCache(url)
	}
	return l.caches[url]
}

func (l *linear) CreateWatch(request *cache.Request, subscription cache.Subscription, out chan cache.Response) (func(), error) {
	return l.of(request.GetTypeUrl()).CreateWatch(request, subscription, out)
}

func (l *linear) CreateDeltaWatch(request *cache.DeltaRequest, subscription cache.Subscription, out chan cache.DeltaResponse) (func(), error) {
	return l.of(request.GetTypeUrl()).CreateDeltaWatch(request, subscription, out)
}

func (l *linear) Fetch(context.Context, *cache.Request) (cache.Response, error) {
	return nil, fmt.Errorf("not served")
}

// A response, as its answer refers to it.
type response struct {
	delta  bool
	stream int64
	nonce  string
}

// Versions of the responses that have been sent.
type answers struct {
	mu   sync.Mutex
	sent map[response]string
}

func (a *answers) note(to response, version string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent[to] = version
}

func (a *answers) print(to response, url string, problem interface{ GetMessage() string }, refused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	version, found := a.sent[to]
	if !found {
		return
	}
	line := map[string]any{"type": url, "version": version, "error": nil}
	if refused {
		line["error"] = problem.GetMessage()
	}
	_ = json.NewEncoder(os.Stdout).Encode(line)
}

func main() {
	state := &linear{caches: map[string]*cache.LinearCache{}}
	seen := &answers{sent: map[response]string{}}
	callbacks := server.CallbackFuncs{
		StreamResponseFunc: func(_ context.Context, stream int64, _ *discovery.DiscoveryRequest, sent *discovery.DiscoveryResponse) {
			seen.note(response{false, stream, sent.GetNonce()}, sent.GetVersionInfo())
		},
		StreamRequestFunc: func(stream int64, request *discovery.DiscoveryRequest) error {
			to := response{false, stream, request.GetResponseNonce()}
			seen.print(to, request.GetTypeUrl(), request.GetErrorDetail(), request.ErrorDetail != nil)
			return nil
		},
		StreamDeltaResponseFunc: func(stream int64, _ *discovery.DeltaDiscoveryRequest, sent *discovery.DeltaDiscoveryResponse) {
			seen.note(response{true, stream, sent.GetNonce()}, sent.GetSystemVersionInfo())
		},
		StreamDeltaRequestFunc: func(stream int64, request *discovery.DeltaDiscoveryRequest) error {
			to := response{true, stream, request.GetResponseNonce()}
			seen.print(to, request.GetTypeUrl(), request.GetErrorDetail(), request.ErrorDetail != nil)
			return nil
		},
		DeltaStreamOpenFunc:   func(context.Context, int64, string) error { return nil },
		DeltaStreamClosedFunc: func(int64, *core.Node) {},
	}
	xds := server.NewServer(context.Background(), state, callbacks)
	grpcServer := grpc.NewServer()
	for _, kind := range strings.Split(os.Args[2], ",") {
		switch kind {
		case "aggregated":
			discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer, xds)
		case "separate":
			clusters.RegisterClusterDiscoveryServiceServer(grpcServer, xds)
			endpoints.RegisterEndpointDiscoveryServiceServer(grpcServer, xds)
			listeners.RegisterListenerDiscoveryServiceServer(grpcServer, xds)
			routes.RegisterRouteDiscoveryServiceServer(grpcServer, xds)
			secrets.RegisterSecretDiscoveryServiceServer(grpcServer, xds)
			registerCilium(grpcServer, xds, "cilium.NetworkPolicyDiscoveryService", "NetworkPolicies", policies)
			registerCilium(grpcServer, xds, "cilium.NetworkPolicyHostsDiscoveryService", "NetworkPolicyHosts", hosts)
		default:
			log.Fatalf("what is %q?", kind)
		}
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	go read(state)
	fmt.Println("ready")
	log.Fatal(grpcServer.Serve(listener))
}

// Cilium's own services are not among those of go-control-plane; its streams serve any type.
func registerCilium(grpcServer *grpc.Server, xds server.Server, service, resources, url string) {
	grpcServer.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			{StreamName: "Stream" + resources, ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, stream grpc.ServerStream) error {
					typed := &grpc.GenericServerStream[discovery.DiscoveryRequest, discovery.DiscoveryResponse]{ServerStream: stream}
					return xds.StreamHandler(typed, url)
				}},
			{StreamName: "Delta" + resources, ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, stream grpc.ServerStream) error {
					typed := &grpc.GenericServerStream[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]{ServerStream: stream}
					return xds.DeltaStreamHandler(typed, url)
				}},
		},
	}, xds)
}

func read(state *linear) {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var change struct {
			Type      string
			Resources map[string][]byte
		}
		if err := json.Unmarshal(lines.Bytes(), &change); err != nil {
			log.Fatal(err)
		}
		resources := map[string]types.Resource{}
		for name, value := range change.Resources {
			// A message of any type: all its fields are unknown ones, which are kept byte for byte.
			message := &emptypb.Empty{}
			message.ProtoReflect().SetUnknown(value)
			resources[name] = message
		}
		state.of(change.Type).SetResources(resources)
	}
	os.Exit(0)
}
