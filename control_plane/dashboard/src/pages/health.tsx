/** What is wrong with machines: incidents, what automation may do, and devices that fail again and again. */
import { Alert, Group, Stack, Switch } from "@mantine/core";
import type { ColumnDef } from "@tanstack/react-table";
import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { send } from "../api/client";
import { useBreaker, useFleet, useIncidents, useLemons } from "../api/queries";
import type { Fleet, Incident, KnownDevice } from "../api/types";
import { ActionButton } from "../components/confirm";
import { IncidentLink, NodeLink } from "../components/links";
import { Loaded, PageTitle, Panel } from "../components/panels";
import { StateBadge } from "../components/states";
import { Rows } from "../components/table";
import { Ago, For } from "../components/time";
import { many } from "../format";

export function HealthPage() {
  const [words, setWords] = useSearchParams();
  const closed = words.get("closed") === "1";
  const incidents = useIncidents(closed);
  const fleet = useFleet();
  return (
    <Stack>
      <PageTitle title="Health">
        <Switch
          label="Closed ones too"
          size="xs"
          checked={closed}
          onChange={(event) => setWords(event.currentTarget.checked ? { closed: "1" } : {})}
        />
      </PageTitle>
      <Breaker />
      <Panel title="Incidents">
        <Loaded of={incidents}>
          {(found) => <Rows label="Incidents" rows={found} columns={INCIDENTS} idOf={(one) => one.id} empty="No incident is open." />}
        </Loaded>
      </Panel>
      <div className="grid">
        <Panel title="Out of use">
          <Loaded of={fleet}>{(found) => <Quarantine fleet={found} />}</Loaded>
        </Panel>
        <Panel title="Lemons: devices with more than one incident">
          <Lemons />
        </Panel>
      </div>
    </Stack>
  );
}

function Breaker() {
  const breaker = useBreaker();
  if (!breaker.data) return null;
  const { tripped_at: since, reason, cordons } = breaker.data;
  const close = (
    <ActionButton
      action={{
        label: "Close the breaker",
        title: "Let automation take nodes out again?",
        least: "operator",
        unless: since ? null : "it is closed",
        consequences: async () => ["Automation may cordon, repair and replace nodes again, at once.", `Lately it took ${many(cordons.length, "node")} out.`],
        run: () => send("POST", "/breaker/reset"),
      }}
    />
  );
  if (!since) return null;
  return (
    <Alert color="red" title="The breaker is open: automation takes no more nodes out">
      <Group justify="space-between">
        <span>
          {reason}, since <Ago at={since} />
        </span>
        {close}
      </Group>
    </Alert>
  );
}

const INCIDENTS: ColumnDef<Incident>[] = [
  { accessorKey: "code", header: "What", cell: ({ row: { original: one } }) => <IncidentLink id={one.id}>{one.code || one.check}</IncidentLink> },
  { accessorKey: "state", header: "State", cell: ({ row }) => <StateBadge state={row.original.state} /> },
  { accessorKey: "node_id", header: "Node", cell: ({ row }) => <NodeLink id={row.original.node_id} /> },
  { accessorKey: "provider", header: "Provider" },
  { accessorKey: "remedy", header: "Remedy", cell: ({ row }) => row.original.remedy.replaceAll("_", " ") },
  { id: "gpus", header: "GPUs", accessorFn: (one) => one.gpus.length, cell: ({ row }) => row.original.gpus.length || "all" },
  { id: "jobs", header: "Jobs that left", accessorFn: (one) => one.jobs.length },
  { accessorKey: "opened_at", header: "Opened", cell: ({ row }) => <Ago at={row.original.opened_at} /> },
  { accessorKey: "state_since", header: "In this state", cell: ({ row }) => <For since={row.original.state_since} /> },
  { accessorKey: "reason", header: "Why", enableSorting: false, cell: ({ row }) => <div className="long">{row.original.reason}</div> },
];

interface Out {
  id: string;
  health: string;
  gpus: number;
  state: string;
}

/** Nodes of which something may not be used, by what the fleet says of it. */
function Quarantine({ fleet }: { fleet: Fleet }) {
  const rows = useMemo(() => {
    const healthy = (fleet.tables.healths ?? []).indexOf("healthy");
    let g = 0;
    return fleet.nodes.id.flatMap((id, i): Out[] => {
      let gpus = 0;
      for (const end = g + (fleet.nodes.gpu_count[i] ?? 0); g < end; g++) gpus += fleet.gpus.health[g] === healthy ? 0 : 1;
      if (!gpus && fleet.nodes.health[i] === healthy) return [];
      const health = fleet.tables.healths?.[fleet.nodes.health[i] ?? 0] ?? "";
      return [{ id, health, gpus, state: fleet.tables.node_states?.[fleet.nodes.state[i] ?? 0] ?? "" }];
    });
  }, [fleet]);
  return <Rows label="Out of use" rows={rows} columns={OUT} idOf={(row) => row.id} empty="Every node and GPU is healthy." />;
}

const OUT: ColumnDef<Out>[] = [
  { accessorKey: "id", header: "Node", cell: ({ row }) => <NodeLink id={row.original.id} /> },
  { accessorKey: "health", header: "Health", cell: ({ row }) => <StateBadge state={row.original.health} /> },
  { accessorKey: "state", header: "State", cell: ({ row }) => <StateBadge state={row.original.state} /> },
  { accessorKey: "gpus", header: "GPUs" },
];

/** With so many incidents a device is worth a word with its provider. */
const LEMON_FAULTS = 2;

function Lemons() {
  const lemons = useLemons(LEMON_FAULTS);
  return (
    <Loaded of={lemons}>
      {(found) => <Rows label="Lemons" rows={found} columns={LEMONS} idOf={(one) => one.id} empty="No device had more than one incident." />}
    </Loaded>
  );
}

const LEMONS: ColumnDef<KnownDevice>[] = [
  { accessorKey: "id", header: "Device" },
  { accessorKey: "health", header: "Health", cell: ({ row }) => <StateBadge state={row.original.health} /> },
  { accessorKey: "faults", header: "Incidents" },
  { accessorKey: "node_id", header: "Last on", cell: ({ row: { original: one } }) => (one.is_here ? <NodeLink id={one.node_id} /> : `${one.node_id}, gone`) },
  { accessorKey: "provider", header: "Provider" },
  { accessorKey: "reason", header: "Why", enableSorting: false, cell: ({ row }) => <div className="long">{row.original.reason}</div> },
];
