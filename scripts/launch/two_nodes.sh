#!/usr/bin/env bash
# Try a run on two nodes without having two: two network namespaces, joined by a virtual cable.
#   sudo bash scripts/launch/two_nodes.sh recipe=quickstart key=value …
# Each namespace starts `accelerate launch` as a node of a cluster would; what differs on real nodes
# is the address, and that the run folder has to be on storage which all of them see.
# FINETUNE_LAUNCHER=torchrun uses torchrun instead. The exit code is that of the first node to fail.
set -u

PYTHON="${FINETUNE_PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}"
LAUNCHER="${FINETUNE_LAUNCHER:-accelerate}"
NET="10.$((RANDOM % 200 + 20)).$((RANDOM % 250))"
PORT=$((RANDOM % 20000 + 20000))
ID="ft$$"

if [ "$(id -u)" -ne 0 ] || ! ip netns add "$ID-0" 2>/dev/null; then
  echo "two_nodes.sh: network namespaces need root and iproute2 on Linux." >&2
  exit 77
fi

nodes=()
end() {
  for node in "${nodes[@]}"; do kill -TERM "$node" 2>/dev/null; done
  wait
  ip netns del "$ID-0" 2>/dev/null
  ip netns del "$ID-1" 2>/dev/null
}
trap end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

ip netns add "$ID-1"
ip link add "$ID-a" type veth peer name "$ID-b"
ip link set "$ID-a" netns "$ID-0" name node0
ip link set "$ID-b" netns "$ID-1" name node0
for rank in 0 1; do
  ip -n "$ID-$rank" link set lo up
  ip -n "$ID-$rank" address add "$NET.$((rank + 1))/24" dev node0
  ip -n "$ID-$rank" link set node0 up
done

launch() { # launch RANK ARGUMENT…
  local rank=$1
  shift
  if [ "$LAUNCHER" = torchrun ]; then
    set -- -m torch.distributed.run --nnodes 2 --nproc_per_node 1 --node_rank "$rank" \
      --master_addr "$NET.1" --master_port "$PORT" -m finetune "$@"
  else
    set -- -m accelerate.commands.launch --multi_gpu --num_machines 2 --num_processes 2 \
      --machine_rank "$rank" --main_process_ip "$NET.1" --main_process_port "$PORT" \
      --mixed_precision no --dynamo_backend no -m finetune "$@"
  fi
  exec env GLOO_SOCKET_IFNAME=node0 NCCL_SOCKET_IFNAME=node0 ip netns exec "$ID-$rank" "$PYTHON" "$@"
}

for rank in 0 1; do
  launch "$rank" "$@" &
  nodes+=($!)
done

# The first to fail decides; the other gets the time that a launcher needs to notice.
code=0
for _ in "${nodes[@]}"; do
  wait -n
  one=$?
  if [ "$one" -ne 0 ] && [ "$code" -eq 0 ]; then code=$one; fi
done
nodes=()
exit "$code"
