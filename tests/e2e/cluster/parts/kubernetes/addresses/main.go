// Command addresses is the cloud of a cluster that has none: it gives every Service of type LoadBalancer an address
// of a range, by writing it into the Service's status. kube-proxy does the rest; no packet passes through here.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// wants says whether a Service waits for an address from here.
func wants(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil &&
		service.DeletionTimestamp == nil && len(service.Status.LoadBalancer.Ingress) == 0
}

// choose returns the address that the Service asks for, or the lowest free one.
func choose(pool netip.Prefix, taken map[netip.Addr]string, service *corev1.Service) (netip.Addr, error) {
	if asked := service.Spec.LoadBalancerIP; asked != "" {
		address, err := netip.ParseAddr(asked)
		switch {
		case err != nil:
			return address, err
		case !pool.Contains(address):
			return address, fmt.Errorf("%v is outside of %v", address, pool)
		case taken[address] != "":
			return address, fmt.Errorf("%v belongs to %s", address, taken[address])
		}
		return address, nil
	}
	for address := pool.Addr().Next(); pool.Contains(address.Next()); address = address.Next() {
		if taken[address] == "" {
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address of %v is free", pool)
}

// holds says whether the addresses in the status of a Service are its own: one that became a ClusterIP has none of
// them any more.
func holds(service *corev1.Service) bool { return service.Spec.Type == corev1.ServiceTypeLoadBalancer }

type giver struct {
	client kubernetes.Interface
	pool   netip.Prefix
	// granted bridges the time until a written status comes back by the watch.
	granted map[netip.Addr]string
}

func (g *giver) give(ctx context.Context, services []*corev1.Service) error {
	taken := map[netip.Addr]string{}
	names := map[string]bool{}
	for _, service := range services {
		if !holds(service) {
			continue
		}
		names[service.Namespace+"/"+service.Name] = true
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			if address, err := netip.ParseAddr(ingress.IP); err == nil {
				taken[address] = service.Namespace + "/" + service.Name
				delete(g.granted, address)
			}
		}
	}
	for address, name := range g.granted {
		if names[name] {
			taken[address] = name
		} else {
			delete(g.granted, address)
		}
	}
	var failed error
	for _, service := range services {
		if !wants(service) {
			continue
		}
		name := service.Namespace + "/" + service.Name
		address, err := choose(g.pool, taken, service)
		if err != nil {
			log.Printf("%s gets no address: %v", name, err)
			continue
		}
		update := service.DeepCopy()
		update.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address.String()}}
		if _, err := g.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, update, metav1.UpdateOptions{}); err != nil {
			failed = fmt.Errorf("%s: %w", name, err)
			continue
		}
		taken[address], g.granted[address] = name, name
		log.Printf("%s gets %v", name, address)
	}
	return failed
}

func run(ctx context.Context, kubeconfig, pool string) error {
	prefix, err := netip.ParsePrefix(pool)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	// One key, "all": whatever changed, all Services are looked at, one look at a time.
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 2*time.Second))
	look := func(any) { queue.Add("all") }
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services()
	if _, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: look, DeleteFunc: look, UpdateFunc: func(_, changed any) { look(changed) },
	}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	context.AfterFunc(ctx, queue.ShutDown)
	giver := giver{client: client, pool: prefix.Masked(), granted: map[netip.Addr]string{}}
	for {
		key, ended := queue.Get()
		if ended {
			return nil
		}
		all, err := services.Lister().List(labels.Everything())
		if err == nil {
			err = giver.give(ctx, all)
		}
		if err != nil {
			log.Print(err)
			queue.AddRateLimited(key)
		} else {
			queue.Forget(key)
		}
		queue.Done(key)
	}
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "`file` that says how to reach the cluster")
	pool := flag.String("pool", "", "`range` of the addresses, such as 10.0.1.0/24")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *kubeconfig, *pool); err != nil {
		log.Fatal(err)
	}
}
