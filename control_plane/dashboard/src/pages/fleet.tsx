/** Every provider, region, domain, node and GPU as a cell; a click tells a node's story. */
import { Drawer, Group, SegmentedControl, Stack, Text, TextInput, Title } from "@mantine/core";
import type { ColumnDef } from "@tanstack/react-table";
import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { useFleet } from "../api/queries";
import type { Fleet } from "../api/types";
import { NodeLink } from "../components/links";
import { Loaded, Nothing, PageTitle, Panel } from "../components/panels";
import { StateBadge } from "../components/states";
import { Rows } from "../components/table";
import { Ago } from "../components/time";
import { BYS, type By, paint } from "../fleet/colours";
import { FleetMap } from "../fleet/map";
import type { Hit } from "../fleet/layout";
import { NodeStory } from "../fleet/node";
import { count, many, usd } from "../format";

export function FleetPage() {
  const fleet = useFleet();
  return (
    <Loaded of={fleet}>
      {(found) => (found.nodes.id.length ? <Shown fleet={found} /> : <Empty />)}
    </Loaded>
  );
}

function Empty() {
  return (
    <>
      <PageTitle title="Fleet" />
      <Nothing>There is no node. Nodes are bought when jobs need them.</Nothing>
    </>
  );
}

function Shown({ fleet }: { fleet: Fleet }) {
  const [words, setWords] = useSearchParams();
  const set = (key: string, value: string | null) =>
    setWords(
      (before) => {
        const after = new URLSearchParams(before);
        if (value) after.set(key, value);
        else after.delete(key);
        return after;
      },
      { replace: key === "q" },
    );
  const by = (BYS.find((each) => each.value === words.get("by")) ?? BYS[0]!).value as By;
  const wanted = (words.get("q") ?? "").toLowerCase();
  const matches = useMemo(() => matching(fleet, wanted), [fleet, wanted]);
  const painted = useMemo(() => paint(fleet, by, (node) => matches !== null && !matches[node]), [fleet, by, matches]);
  const picked = fleet.nodes.id.indexOf(words.get("node") ?? "");
  const gpus = fleet.gpus.use.length;
  return (
    <Stack>
      <PageTitle
        title="Fleet"
        below={
          <>
            {many(fleet.nodes.id.length, "node")}, {many(gpus, "GPU")}, as of <Ago at={fleet.at} />
          </>
        }
      >
        <TextInput
          type="search"
          size="xs"
          placeholder="Node, job, GPU or place"
          aria-label="Find in the fleet"
          value={words.get("q") ?? ""}
          onChange={(event) => set("q", event.currentTarget.value)}
        />
      </PageTitle>
      <Panel>
        <Stack gap="sm">
          <div className="sideways">
            <SegmentedControl size="xs" data={BYS} value={by} onChange={(value) => set("by", value)} aria-label="Colour by" />
          </div>
          <Legend of={painted.legend} />
          <FleetMap
            fleet={fleet}
            painted={painted}
            picked={picked}
            onPick={(node) => set("node", fleet.nodes.id[node] ?? null)}
            describe={(hit) => described(fleet, hit)}
            label={`Map of ${many(fleet.nodes.id.length, "node")} and ${many(gpus, "GPU")}: ${painted.legend.map((e) => `${e.count} ${e.label}`).join(", ")}. The table below lists the same nodes.`}
          />
        </Stack>
      </Panel>
      <Panel title="Nodes">
        <Rows label="Nodes" rows={listed(fleet, matches)} columns={COLUMNS} idOf={(row) => row.id} empty="No node is like that." />
      </Panel>
      <Drawer
        opened={words.get("node") !== null}
        onClose={() => set("node", null)}
        position="right"
        size="min(520px, 100vw)"
        title={<Title order={2} size="h4" className="wrap">{words.get("node")}</Title>}
      >
        {words.get("node") && <NodeStory id={words.get("node")!} />}
      </Drawer>
    </Stack>
  );
}

function Legend({ of }: { of: { label: string; colour: string; count: number }[] }) {
  const shown = of.slice(0, 14);
  return (
    <Group gap="md" aria-label="Legend" role="list">
      {shown.map((entry) => (
        <Group gap={6} key={entry.label} wrap="nowrap" role="listitem">
          <span className="swatch" style={{ background: entry.colour }} />
          <Text size="sm">
            {entry.label} <strong>{count(entry.count)}</strong>
          </Text>
        </Group>
      ))}
      {of.length > shown.length && (
        <Text size="sm" c="dimmed" role="listitem">
          and {of.length - shown.length} more
        </Text>
      )}
    </Group>
  );
}

const named = (table: string[] | undefined, at: number | undefined): string =>
  at === undefined || at < 0 ? "" : (table?.[at] ?? "");

function described(fleet: Fleet, { node, gpu }: Hit): string {
  const { nodes, tables, gpus } = fleet;
  const lines = [
    nodes.id[node],
    `${named(tables.providers, nodes.provider[node])} ${named(tables.regions, nodes.region[node])}, ${named(tables.node_states, nodes.state[node])}`,
    `${usd(nodes.price[node] ?? 0)}/h${nodes.spot[node] ? ", spot" : ""}`,
  ];
  if (gpu >= 0) {
    const owner = tables.owners[gpus.owner[gpu] ?? -1];
    const load = gpus.utilization[gpu] ?? -1;
    lines.push(`GPU: ${named(tables.gpu_uses, gpus.use[gpu])}, ${named(tables.healths, gpus.health[gpu])}`);
    if (load >= 0) lines.push(`${Math.round((load * 100) / 255)}% busy`);
    if (owner) lines.push(`${owner.name} of ${owner.project}`);
  }
  return lines.join("\n");
}

/** Which nodes a search finds, or null where nobody searches. */
function matching(fleet: Fleet, wanted: string): boolean[] | null {
  if (!wanted) return null;
  const { nodes, tables, gpus } = fleet;
  const owners = tables.owners.map((owner) => `${owner.name} ${owner.id} ${owner.project}`.toLowerCase().includes(wanted));
  let g = 0;
  return nodes.id.map((id, i) => {
    const words = `${id} ${nodes.name[i]} ${named(tables.providers, nodes.provider[i])} ${named(tables.regions, nodes.region[i])} ${named(tables.zones, nodes.zone[i])} ${named(tables.domains, nodes.domain[i])} ${named(tables.gpu_models, nodes.gpu_model[i])} ${named(tables.node_states, nodes.state[i])}`;
    let isFound = words.toLowerCase().includes(wanted);
    for (const end = g + (nodes.gpu_count[i] ?? 0); g < end; g++) isFound ||= owners[gpus.owner[g] ?? -1] ?? false;
    return isFound;
  });
}

interface Listed {
  id: string;
  place: string;
  state: string;
  health: string;
  gpus: string;
  price: number;
  since: number;
}

function listed(fleet: Fleet, matches: boolean[] | null): Listed[] {
  const { nodes, tables } = fleet;
  return nodes.id
    .map((id, i) => ({
      id,
      place: `${named(tables.providers, nodes.provider[i])} ${named(tables.regions, nodes.region[i])}`,
      state: named(tables.node_states, nodes.state[i]),
      health: named(tables.healths, nodes.health[i]),
      gpus: nodes.gpu_count[i] ? `${nodes.gpu_count[i]} × ${named(tables.gpu_models, nodes.gpu_model[i])}` : "none",
      price: nodes.price[i] ?? 0,
      since: nodes.since[i] ?? 0,
    }))
    .filter((_, i) => matches === null || matches[i]);
}

const COLUMNS: ColumnDef<Listed>[] = [
  { accessorKey: "id", header: "Node", cell: ({ row }) => <NodeLink id={row.original.id} /> },
  { accessorKey: "place", header: "Where" },
  { accessorKey: "state", header: "State", cell: ({ row }) => <StateBadge state={row.original.state} /> },
  { accessorKey: "health", header: "Health", cell: ({ row }) => <StateBadge state={row.original.health} /> },
  { accessorKey: "gpus", header: "GPUs" },
  { accessorKey: "price", header: "$/h", cell: ({ row }) => usd(row.original.price) },
  { accessorKey: "since", header: "In this state", cell: ({ row }) => <Ago at={row.original.since} /> },
];
