/** The first screen: what is broken, what is idle and costs how much, who waits and why. In that order. */
import { Alert, Group, Progress, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { useOverview } from "../api/queries";
import type { Overview as Answer } from "../api/types";
import { IncidentLink, JobLink, NodeLink, ServiceLink, To } from "../components/links";
import { Figure, Loaded, Nothing, PageTitle, Panel } from "../components/panels";
import { StateBadge, USE_COLOURS } from "../components/states";
import { Ago, For } from "../components/time";
import { count, many, usd } from "../format";

export function Overview() {
  const overview = useOverview();
  return (
    <>
      <PageTitle title="Overview" below={overview.data && <>As of <Ago at={overview.data.at} /></>} />
      <Loaded of={overview}>
        {(found) => (
          <Stack>
            <Answers found={found} />
            <div className="grid">
              <Broken of={found.broken} />
              <Idle of={found.idle} />
              <Waiting of={found.waiting} />
              <Services of={found.services} />
              <Money of={found.money} />
              <Running of={found.counts} />
            </div>
          </Stack>
        )}
      </Loaded>
    </>
  );
}

/** The three answers in one line each, before anything else is read. */
function Answers({ found }: { found: Answer }) {
  const { broken, idle, waiting, services } = found;
  const wrong = broken.incidents + broken.nodes + broken.gpus + broken.providers.length;
  return (
    <Panel>
      <div className="figures" data-testid="answers">
        <Figure
          id="broken"
          label="Broken"
          tone={wrong ? "bad" : "good"}
          value={wrong ? many(broken.incidents, "incident") : "nothing"}
          note={
            wrong
              ? `${many(broken.gpus, "GPU")} broken, ${many(broken.nodes, "node")} lost, ${usd(broken.usd_per_hour)}/h for nothing`
              : "every node answers"
          }
        />
        <Figure
          id="idle"
          label="Idle"
          tone={idle.gpus ? "warn" : "good"}
          value={idle.gpus ? `${usd(idle.usd_per_hour)}/h` : "nothing"}
          note={`${many(idle.gpus, "GPU")} idle${idle.held_gpus ? `, ${count(idle.held_gpus)} held at ${usd(idle.held_usd_per_hour)}/h` : ""}`}
        />
        <Figure
          id="waiting"
          label="Waiting"
          tone={waiting.jobs ? "warn" : "good"}
          value={waiting.jobs ? many(waiting.jobs, "job") : "nobody"}
          note={waiting.oldest_since ? <>for {many(waiting.gpus, "GPU")}; the first since <For since={waiting.oldest_since} /></> : "the queue is empty"}
        />
        <Figure
          id="services"
          label="Services in trouble"
          tone={services.length ? "bad" : "good"}
          value={services.length ? count(services.length) : "none"}
        />
        <Figure
          id="money"
          label="Spending"
          value={`${usd(found.money.usd_per_hour)}/h`}
          note={`${usd(found.money.usd_today)} today${found.money.is_simulated ? " (simulated)" : ""}`}
        />
      </div>
    </Panel>
  );
}

function Entry({ children, side }: { children: ReactNode; side?: ReactNode }) {
  return (
    <Group justify="space-between" wrap="nowrap" align="flex-start" gap="sm" py={4}>
      <Text size="sm" component="div" className="wrap">
        {children}
      </Text>
      <Text size="sm" component="div" className="nowrap" c="dimmed">
        {side}
      </Text>
    </Group>
  );
}

function Broken({ of }: { of: Answer["broken"] }) {
  const wrong = of.open_incidents.length + of.lost_nodes.length + of.providers.length;
  const isBad = wrong || of.breaker || of.executors;
  return (
    <Panel title="What is broken" tone={isBad ? "bad" : "good"} actions={<To href="/health">Health</To>}>
      {of.executors && (
        <Alert color="red" title="Nothing is launched or ended" mb="sm">
          {of.executors}
        </Alert>
      )}
      {of.breaker && (
        <Alert color="red" title="The breaker is open" mb="sm">
          {of.breaker}
        </Alert>
      )}
      {!wrong && <Nothing>No incident is open, every node is heard, every provider answers.</Nothing>}
      {of.lost_nodes.map((node) => (
        <Entry key={node.node_id} side={`${usd(node.usd_per_hour)}/h`}>
          <NodeLink id={node.node_id} /> at {node.provider} lost <Ago at={node.since} />
          {node.jobs.length > 0 && <>; it ran {many(node.jobs.length, "job")}</>}
        </Entry>
      ))}
      {of.open_incidents.map((incident) => (
        <Entry key={incident.id} side={<StateBadge state={incident.state} />}>
          <IncidentLink id={incident.id}>{incident.code || incident.check}</IncidentLink> on{" "}
          <NodeLink id={incident.node_id} />, <Ago at={incident.opened_at} />
          <Text size="sm" c="dimmed" lineClamp={2}>
            {incident.reason}
          </Text>
        </Entry>
      ))}
      {of.providers.map((provider) => (
        <Entry key={provider.name} side={provider.since ? <For since={provider.since} /> : null}>
          <strong>{provider.name}</strong>: {provider.trouble}
        </Entry>
      ))}
      {of.incidents > of.open_incidents.length && <Nothing>and {count(of.incidents - of.open_incidents.length)} more</Nothing>}
    </Panel>
  );
}

function Idle({ of }: { of: Answer["idle"] }) {
  return (
    <Panel title="What is idle" tone={of.gpus ? "warn" : "good"} actions={<To href="/fleet?by=use">Fleet</To>}>
      {!of.nodes.length && <Nothing>Nothing that is paid for stands idle.</Nothing>}
      {of.nodes.map((node) => (
        <Entry key={node.node_id} side={`${usd(node.usd_per_hour)}/h`}>
          <NodeLink id={node.node_id} /> at {node.provider}: {node.gpus} of {many(node.of_gpus, "GPU")}
          {node.since && <> for <For since={node.since} /></>}
        </Entry>
      ))}
    </Panel>
  );
}

function Waiting({ of }: { of: Answer["waiting"] }) {
  return (
    <Panel title="Who waits, and why" tone={of.jobs ? "warn" : "good"} actions={<To href="/jobs?state=queued">Jobs</To>}>
      {!of.first.length && <Nothing>Nobody waits.</Nothing>}
      {of.first.map((job) => (
        <Entry key={job.id} side={<For since={job.since} />}>
          {job.outlook ? `${job.outlook.position}. ` : ""}
          <JobLink id={job.id} name={job.name} /> of {job.project} wants {job.nodes} × {job.gpus}
          <Text size="sm" c="dimmed" lineClamp={2}>
            {job.reason?.message || job.why || "the planner has not looked at it yet"}
          </Text>
        </Entry>
      ))}
      {of.jobs > of.first.length && <Nothing>and {count(of.jobs - of.first.length)} more</Nothing>}
    </Panel>
  );
}

function Services({ of }: { of: Answer["services"] }) {
  if (!of.length) return null;
  return (
    <Panel title="Services in trouble" tone="bad" actions={<To href="/services">Services</To>}>
      {of.map((service) => (
        <Entry key={service.id} side={`${service.ready} of ${service.replicas} ready`}>
          <ServiceLink name={service.name} />
          <Text size="sm" c="dimmed" lineClamp={2}>
            {service.why || service.rollout?.backwards}
          </Text>
        </Entry>
      ))}
    </Panel>
  );
}

function Money({ of }: { of: Answer["money"] }) {
  const providers = Object.entries(of.usd_per_hour_by_provider).sort(([, a], [, b]) => b - a);
  return (
    <Panel title="Money" actions={<To href="/costs">Costs</To>}>
      <Entry side={`${usd(of.busy_usd_per_hour)}/h`}>of it on GPUs that are busy</Entry>
      <Entry side={`${usd(of.spot_usd_per_hour)}/h`}>on spot machines</Entry>
      {providers.map(([name, amount]) => (
        <Entry key={name} side={`${usd(amount)}/h`}>
          {name}
        </Entry>
      ))}
    </Panel>
  );
}

function Running({ of }: { of: Answer["counts"] }) {
  const total = Object.values(of.gpus).reduce((sum, n) => sum + n, 0);
  return (
    <Panel title="The fleet now" actions={<To href="/fleet">Fleet</To>}>
      {total > 0 && (
        <Progress.Root size="lg" mb="sm" aria-label="GPUs by what they do">
          {Object.entries(of.gpus).map(([use, n]) => (
            <Progress.Section key={use} value={(100 * n) / total} color={USE_COLOURS[use] ?? "gray"} aria-label={`${n} ${use}`} />
          ))}
        </Progress.Root>
      )}
      <Counted what="GPUs" by={of.gpus} />
      <Counted what="nodes" by={of.nodes} />
      <Counted what="jobs" by={of.jobs} />
      <Counted what="services" by={of.services ?? {}} />
    </Panel>
  );
}

function Counted({ what, by }: { what: string; by: Record<string, number> }) {
  const states = Object.entries(by).filter(([, n]) => n > 0);
  return (
    <Group justify="space-between" align="flex-start" wrap="nowrap" py={4}>
      <Text size="sm">{what}</Text>
      <Group gap={6} justify="flex-end">
        {!states.length && <Text size="sm" c="dimmed">none</Text>}
        {states.map(([state, n]) => (
          <Group key={state} gap={4} wrap="nowrap">
            <Text size="sm" fw={600}>
              {count(n)}
            </Text>
            <StateBadge state={state} />
          </Group>
        ))}
      </Group>
    </Group>
  );
}
