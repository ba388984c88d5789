/** All services: how many replicas they have and want, and what is in their way. */
import { Stack } from "@mantine/core";
import type { ColumnDef } from "@tanstack/react-table";
import { useServices } from "../api/queries";
import type { Service } from "../api/types";
import { ServiceLink } from "../components/links";
import { Loaded, PageTitle, Panel } from "../components/panels";
import { StateBadge } from "../components/states";
import { Rows } from "../components/table";
import { Ago } from "../components/time";

export function ServicesPage() {
  const services = useServices();
  return (
    <Stack>
      <PageTitle title="Services" />
      <Panel>
        <Loaded of={services}>
          {(found) => <Rows label="Services" rows={found} columns={COLUMNS} idOf={(one) => one.id} empty="There is no service. `godwit run service.yaml` makes one." />}
        </Loaded>
      </Panel>
    </Stack>
  );
}

/** In a word: whether it is as it should be. */
const standing = (service: Service): string =>
  service.state !== "serving" ? service.state : service.ready >= service.replicas ? "ready" : service.ready ? "starting" : "broken";

const COLUMNS: ColumnDef<Service>[] = [
  { accessorKey: "name", header: "Service", cell: ({ row }) => <ServiceLink name={row.original.name} /> },
  { id: "state", header: "State", accessorFn: standing, cell: ({ row }) => <StateBadge state={standing(row.original)} /> },
  { id: "replicas", header: "Ready", accessorFn: (one) => one.ready, cell: ({ row: { original: one } }) => `${one.ready} of ${one.replicas}` },
  { id: "bounds", header: "Bounds", enableSorting: false, cell: ({ row: { original: one } }) => (one.replicas_min === one.replicas_max ? `${one.replicas_min}` : `${one.replicas_min} to ${one.replicas_max}`) },
  { id: "moving", header: "Starting, draining", enableSorting: false, cell: ({ row: { original: one } }) => `${one.starting}, ${one.draining}` },
  { accessorKey: "version", header: "Version", cell: ({ row: { original: one } }) => (one.rollout ? `${one.rollout.before} → ${one.rollout.version}` : one.version) },
  { accessorKey: "project", header: "Project" },
  { id: "why", header: "In its way", enableSorting: false, cell: ({ row }) => <div className="long">{row.original.why}</div> },
  { accessorKey: "created_at", header: "Since", cell: ({ row }) => <Ago at={row.original.created_at} /> },
];
