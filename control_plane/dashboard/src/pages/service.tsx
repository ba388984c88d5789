/** One service: its traffic and what the regulator does with it, its replicas, its versions, and what may be done. */
import { Alert, Group, NumberInput, Select, Stack } from "@mantine/core";
import type { ColumnDef } from "@tanstack/react-table";
import { useState } from "react";
import { useParams } from "wouter";
import { send } from "../api/client";
import { foreseen } from "../api/consequences";
import { useProviders, useService, useTraffic } from "../api/queries";
import type { ServiceDetail } from "../api/types";
import { Chart, lineColour } from "../components/chart";
import { ActionButton } from "../components/confirm";
import { Facts } from "../components/facts";
import { JobLink } from "../components/links";
import { Figure, Loaded, Nothing, PageTitle, Panel } from "../components/panels";
import { StateBadge } from "../components/states";
import { Rows } from "../components/table";
import { Ago, For } from "../components/time";
import { duration, figure, many, percent } from "../format";

export function ServicePage() {
  const { name = "" } = useParams();
  const service = useService(name);
  return <Loaded of={service}>{(found) => <Shown service={found} />}</Loaded>;
}

function Shown({ service }: { service: ServiceDetail }) {
  return (
    <Stack>
      <PageTitle
        title={
          <Group gap="sm">
            {service.name} <StateBadge state={service.state} />
          </Group>
        }
        below={
          <>
            {service.ready} of {many(service.replicas, "replica")} ready, version {service.version}, of {service.project}, since <Ago at={service.created_at} />
          </>
        }
      >
        <Actions service={service} />
      </PageTitle>
      {service.why && (
        <Alert color="orange" title="Not as wanted">
          {service.why}
        </Alert>
      )}
      <Traffic of={service} />
      <Panel title="Replicas">
        <Rows label="Replicas" rows={service.replica_list} columns={REPLICAS} idOf={(one) => one.job_id} empty="There is no replica." />
      </Panel>
      <div className="grid">
        <Panel title="Versions">
          <Rows label="Versions" rows={service.versions} columns={VERSIONS} idOf={(one) => String(one.version)} empty="There is no version." />
        </Panel>
        <Panel title="How it follows its users">
          <Rules of={service} />
        </Panel>
      </div>
    </Stack>
  );
}

const inMs = (seconds: (number | null)[]): (number | null)[] => seconds.map((one) => (one === null ? null : one * 1000));
const milliseconds = (value: number): string => `${figure(value)} ms`;

function Traffic({ of }: { of: ServiceDetail }) {
  const { traffic } = of;
  if (!traffic) {
    return (
      <>
        <Panel title="Traffic">
          <Nothing>No gateway measures it now. `godwit gateway` starts one.</Nothing>
        </Panel>
        <Curves name={of.name} />
      </>
    );
  }
  return (
    <>
      <Panel title="Traffic">
        <div className="figures">
          <Figure label="Requests" value={`${figure(traffic.requests_per_s)}/s`} note={`through ${many(traffic.gateways, "gateway")}`} />
          <Figure label="In flight" value={figure(traffic.in_flight)} note={`${figure(traffic.queued)} queued`} />
          <Figure
            label="Latency, median"
            value={traffic.latency_p50_s === null || traffic.latency_p50_s === undefined ? "–" : milliseconds(traffic.latency_p50_s * 1000)}
            note={traffic.latency_p99_s ? `99 of 100 within ${milliseconds(traffic.latency_p99_s * 1000)}` : undefined}
          />
          <Figure
            label="Regulator"
            tone={traffic.shed_per_s > 0 ? "bad" : "good"}
            value={traffic.shed_per_s > 0 ? `sheds ${figure(traffic.shed_per_s)}/s` : "lets all in"}
            note={traffic.queue_delay_p90_s ? `the queue delays by ${traffic.queue_delay_p90_s < 1 ? milliseconds(traffic.queue_delay_p90_s * 1000) : duration(traffic.queue_delay_p90_s)}` : "nobody waits"}
          />
          <Figure label="Failed" tone={traffic.failed_per_s > 0 ? "bad" : "good"} value={`${figure(traffic.failed_per_s)}/s`} />
        </div>
      </Panel>
      <Curves name={of.name} />
    </>
  );
}

function Curves({ name }: { name: string }) {
  const history = useTraffic(name);
  const past = history.data;
  if (!past || past.at.length < 2) return null;
  return (
    <div className="grid">
      <Panel title="Requests per second">
        <Chart
          at={past.at}
          label="Requests per second over time"
          lines={[
            { label: "taken", values: past.requests_per_s, colour: lineColour(2) },
            { label: "shed", values: past.shed_per_s, colour: lineColour(1) },
            { label: "failed", values: past.failed_per_s, colour: lineColour(4) },
          ]}
        />
      </Panel>
      <Panel title="Latency">
        <Chart
          at={past.at}
          label="Latency in milliseconds over time"
          format={milliseconds}
          lines={[
            { label: "median", values: inMs(past.latency_p50_s), colour: lineColour(0) },
            { label: "99 of 100", values: inMs(past.latency_p99_s), colour: lineColour(3) },
          ]}
        />
      </Panel>
      <Panel title="Replicas and the queue">
        <Chart
          at={past.at}
          label="Replicas, requests in flight and queued over time"
          lines={[
            { label: "wanted", values: past.replicas, colour: lineColour(9), isStepped: true },
            { label: "ready", values: past.ready, colour: lineColour(2), isStepped: true },
            { label: "in flight", values: past.in_flight, colour: lineColour(0) },
            { label: "queued", values: past.queued, colour: lineColour(1) },
          ]}
        />
      </Panel>
    </div>
  );
}

function Rules({ of }: { of: ServiceDetail }) {
  const { spec } = of;
  return (
    <Facts
      of={[
        ["Replicas", of.replicas_min === of.replicas_max ? String(of.replicas_min) : `${of.replicas_min} to ${of.replicas_max}`],
        ["Follows", spec.autoscale ? `${spec.autoscale.on}, ${spec.autoscale.target} for each replica` : "nothing"],
        ["Changes by", spec.rollout?.strategy],
        ["Drains within", spec.drain],
        ["Models", spec.models?.join(", ")],
        ["Runs", <code className="mono">{spec.run}</code>],
      ]}
    />
  );
}

function Actions({ service }: { service: ServiceDetail }) {
  const path = `/services/${service.name}`;
  const [replicas, setReplicas] = useState(service.replicas);
  const [to, setTo] = useState<string | null>(null);
  const providers = useProviders();
  const { replicas_min: low, replicas_max: high } = service;
  // A service of a fixed size has another fixed size once it is scaled.
  const isFixed = low === high;
  const isGoing = service.state === "serving" ? null : `it is ${service.state}`;
  return (
    <>
      <ActionButton
        action={{
          label: "Scale",
          title: `Give ${service.name} ${many(replicas, "replica")}?`,
          least: "member",
          unless: isGoing,
          ready: isFixed ? replicas >= 0 : replicas >= low && replicas <= high,
          consequences: () => foreseen(`${path}/scale`, "Replicas that go drain first; autoscaling goes on from there.", { replicas }),
          run: () => send("PUT", `${path}/scale`, { replicas }),
          children: <NumberInput label="Replicas" min={isFixed ? 0 : low} max={isFixed ? undefined : high} value={replicas} onChange={(value) => setReplicas(Number(value))} />,
        }}
      />
      <ActionButton
        action={{
          label: "Move",
          title: `Move ${service.name}${to ? ` to ${to}` : " to where it costs least"}?`,
          least: "member",
          unless: isGoing,
          consequences: () => foreseen(`${path}/move`, "", to ? { to } : {}),
          run: () => send("POST", `${path}/move`, to ? { to } : {}),
          children: <Select label="Where to" placeholder="where it costs least" clearable value={to} onChange={setTo} data={(providers.data ?? []).map((one) => one.name)} />,
        }}
      />
      <ActionButton
        action={{
          label: "Roll back",
          title: `Take ${service.name} back to the version before?`,
          least: "member",
          unless: isGoing ?? (service.versions.length < 2 ? "it has no version before" : null),
          consequences: () => foreseen(`${path}/rollout`, "", { action: "undo" }),
          run: () => send("POST", `${path}/rollout`, { action: "undo" }),
        }}
      />
      <ActionButton
        action={{
          label: "Delete",
          title: `Delete ${service.name}?`,
          least: "member",
          isGrave: true,
          unless: isGoing,
          consequences: () => foreseen(`${path}/delete`, ""),
          run: () => send("DELETE", path),
        }}
      />
    </>
  );
}

const REPLICAS: ColumnDef<ServiceDetail["replica_list"][number]>[] = [
  { accessorKey: "name", header: "Replica", cell: ({ row }) => <JobLink id={row.original.job_id} name={row.original.name} /> },
  { accessorKey: "state", header: "State", cell: ({ row }) => <StateBadge state={row.original.state} /> },
  { accessorKey: "version", header: "Version" },
  { accessorKey: "zone", header: "Where", cell: ({ row: { original: one } }) => `${one.zone || "–"}${one.spot ? ", spot" : ""}` },
  { accessorKey: "in_flight", header: "In flight", cell: ({ row }) => row.original.in_flight ?? "–" },
  { accessorKey: "state_since", header: "In this state", cell: ({ row }) => <For since={row.original.state_since} /> },
  { accessorKey: "detail", header: "Says", enableSorting: false, cell: ({ row }) => <div className="long">{row.original.detail}</div> },
];

const VERSIONS: ColumnDef<ServiceDetail["versions"][number]>[] = [
  { accessorKey: "version", header: "Version" },
  { accessorKey: "share", header: "Of requests", cell: ({ row }) => percent(row.original.share) },
  { id: "ready", header: "Ready", accessorFn: (one) => one.ready, cell: ({ row: { original: one } }) => `${one.ready} of ${one.replicas}` },
  { accessorKey: "created_at", header: "Since", cell: ({ row }) => <Ago at={row.original.created_at} /> },
];
