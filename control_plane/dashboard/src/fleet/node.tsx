/** A node's story: what it is, what its GPUs do, what happened, and what may be done with it. */
import { Group, Stack, Text, Title } from "@mantine/core";
import { send } from "../api/client";
import { foreseen } from "../api/consequences";
import { useEvents, useNode } from "../api/queries";
import type { Node } from "../api/types";
import { type Action, ActionButton } from "../components/confirm";
import { Facts } from "../components/facts";
import { JobLink } from "../components/links";
import { Loaded } from "../components/panels";
import { StateBadge } from "../components/states";
import { EventList } from "../components/timeline";
import { Ago, At } from "../components/time";
import { usd } from "../format";

export function NodeStory({ id }: { id: string }) {
  const node = useNode(id);
  const events = useEvents({ node: id });
  return (
    <Loaded of={node}>
      {(found) => (
        <Stack>
          <Verbs node={found} />
          <About node={found} />
          <Title order={3} size="h5">
            What happened
          </Title>
          <Loaded of={events}>{(list) => <EventList events={list} />}</Loaded>
        </Stack>
      )}
    </Loaded>
  );
}

function About({ node }: { node: Node }) {
  return (
    <>
      <Facts
        of={[
          ["State", <><StateBadge state={node.state} /> <Ago at={node.state_since} /></>],
          ["Why", node.detail],
          ["Where", `${node.provider} ${node.region}`],
          ["Type", `${node.instance_type}${node.spot ? ", spot" : ""}`],
          ["Machine", node.instance_id],
          ["Price", `${usd(node.price_usd_per_hour)}/h`],
          ["Bought", <Ago at={node.created_at} />],
          ["Last heard", node.last_seen_at ? <Ago at={node.last_seen_at} /> : "never"],
          ["Confined", node.confinement],
          ["Leaves", node.leaves_at ? <At at={node.leaves_at} /> : null],
        ]}
      />
      <Stack gap={4}>
        {node.gpus.map((gpu) => (
          <Group key={gpu.index} gap="xs" wrap="nowrap">
            <Text size="sm" w={110} className="nowrap">
              {gpu.index} · {gpu.model}
            </Text>
            <StateBadge state={gpu.health} />
            <Text size="sm" component="div" className="wrap">
              {gpu.job_id ? <JobLink id={gpu.job_id} /> : <Text span c="dimmed" size="sm">free</Text>}
            </Text>
          </Group>
        ))}
      </Stack>
    </>
  );
}

/** What a verb is, where that does not say it all by what it would do now. */
const SAID: Record<string, string> = {
  drain: "Its work is told to save and leave before.",
  terminate: "It is given back now; what runs on it is interrupted.",
};

function Verbs({ node }: { node: Node }) {
  const verb = (name: "cordon" | "uncordon" | "drain" | "terminate", unless: string | null): Action => ({
    label: name[0]!.toUpperCase() + name.slice(1),
    title: `${name[0]!.toUpperCase()}${name.slice(1)} ${node.id}?`,
    least: "operator",
    isGrave: name === "drain" || name === "terminate",
    unless,
    consequences: () => foreseen(`/nodes/${node.id}/${name}`, SAID[name] ?? ""),
    run: () => send("POST", `/nodes/${node.id}/${name}`),
  });
  const isOver = ["terminating", "terminated", "failed"].includes(node.state) ? `it is ${node.state}` : null;
  return (
    <Group gap="xs">
      {node.state === "cordoned" ? verbButton(verb("uncordon", null)) : verbButton(verb("cordon", node.state === "ready" ? null : `it is ${node.state}`))}
      {verbButton(verb("drain", isOver ?? (node.state === "draining" ? "it drains already" : null)))}
      {verbButton(verb("terminate", isOver))}
    </Group>
  );
}

const verbButton = (action: Action) => <ActionButton key={action.label} action={action} />;
