/** One job: where it is and why, its attempts over nodes, how its training goes, its output, and what may be done. */
import { Group, List, Progress, Stack, Text } from "@mantine/core";
import { useMemo } from "react";
import { useParams } from "wouter";
import { useEvents, useExplanation, useJob, useLedger, useProgress } from "../api/queries";
import type { Attempt, Explanation, JobDetail } from "../api/types";
import { Chart, lineColour } from "../components/chart";
import { Facts } from "../components/facts";
import { type Bar, Gantt } from "../components/gantt";
import { Log } from "../components/log";
import { Loaded, Nothing, PageTitle, Panel } from "../components/panels";
import { StateBadge } from "../components/states";
import { EventList } from "../components/timeline";
import { Ago, At, For, useNow } from "../components/time";
import { bytes, duration, figure, many, usd } from "../format";
import { JobActions } from "./job_actions";

export function JobPage() {
  const { id = "" } = useParams();
  const job = useJob(id);
  return <Loaded of={job}>{(found) => <Shown job={found} />}</Loaded>;
}

function Shown({ job }: { job: JobDetail }) {
  const explained = useExplanation(job.id);
  const events = useEvents({ job: job.id });
  return (
    <Stack>
      <PageTitle
        title={
          <Group gap="sm">
            <span className="wrap">{job.name}</span> <StateBadge state={job.state} />
          </Group>
        }
        below={
          <>
            {job.id} of {job.project}, submitted <Ago at={job.created_at} />
          </>
        }
      >
        <JobActions job={job} />
      </PageTitle>
      <div className="grid">
        <Panel title="Where it is, and why">
          <Loaded of={explained}>{(found) => <Why of={found} />}</Loaded>
        </Panel>
        <Panel title="About it">
          <About job={job} />
        </Panel>
      </div>
      <Panel title="Attempts over nodes">
        <Attempts job={job} />
      </Panel>
      <Curves job={job} />
      <Panel title="Output">
        <Log job={job.id} />
      </Panel>
      <div className="grid">
        <Panel title="What happened">
          <Loaded of={events}>{(list) => <EventList events={list} />}</Loaded>
        </Panel>
        <Panel title="Checkpoints and money">
          <Checkpoints job={job} />
          <Money id={job.id} />
        </Panel>
      </div>
    </Stack>
  );
}

function Why({ of }: { of: Explanation }) {
  return (
    <Stack gap="xs">
      <Text fw={600} className="wrap">
        {of.headline}
      </Text>
      {of.outlook && (
        <Text size="sm">
          {of.outlook.position}. in the queue
          {of.outlook.earliest && (
            <>
              ; may start <Ago at={of.outlook.earliest} />
            </>
          )}
          {of.outlook.because && `: ${of.outlook.because}`}
        </Text>
      )}
      {of.refusals.length > 0 && (
        <List size="sm" spacing={4}>
          {of.refusals.slice(0, 12).map((refusal) => (
            <List.Item key={`${refusal.subject}${refusal.code}`} className="wrap">
              <strong>{refusal.subject}</strong>: {refusal.message}
              {refusal.would_help && (
                <Text size="xs" c="dimmed">
                  {refusal.would_help}
                </Text>
              )}
            </List.Item>
          ))}
        </List>
      )}
      {of.last_lines.length > 0 && <pre className="log mono" tabIndex={0} aria-label="Last lines">{of.last_lines.join("\n")}</pre>}
      {of.estimate && (
        <Text size="sm" c="dimmed">
          About {duration(of.estimate.left_s)} left, by {of.estimate.source}.
        </Text>
      )}
    </Stack>
  );
}

function About({ job }: { job: JobDetail }) {
  const { progress } = job;
  return (
    <Stack gap="sm">
      {progress?.total_steps && (
        <Progress size="lg" value={(100 * progress.step) / progress.total_steps} aria-label={`${progress.step} of ${progress.total_steps} steps`} />
      )}
      <Facts
        of={[
          ["Progress", progress && `step ${progress.step}${progress.total_steps ? ` of ${progress.total_steps}` : ""}`],
          ["In this state", <For since={job.state_since} />],
          ["Kind", job.kind],
          ["Size", `${job.nodes} × ${job.gpus}`],
          ["Priority", String(job.priority)],
          ["Attempt", String(job.epoch)],
          ["Interrupted", many(job.interruptions, "time")],
          ["Deadline", job.deadline_at && <Ago at={job.deadline_at} />],
          ["Budget", job.budget_usd && usd(job.budget_usd)],
          ["Exit code", job.exit_code === null || job.exit_code === undefined ? null : String(job.exit_code)],
          ["Says", progress && Object.entries(progress.metrics ?? {}).map(([name, value]) => `${name} ${figure(value)}`).join(", ")],
          ["Command", <code className="mono">{job.spec.run}</code>],
        ]}
      />
    </Stack>
  );
}

const OUTCOMES: Record<string, Bar["state"]> = { succeeded: "good", failed: "bad", interrupted: "bad", evicted: "bad", lost: "bad" };

function barsOf(attempt: Attempt): Bar[] {
  const to = attempt.ended_at ?? (attempt.state === "ended" ? attempt.state_since : null);
  const state = to === null ? (attempt.state === "running" ? "running" : "starting") : (OUTCOMES[attempt.outcome ?? ""] ?? "moved");
  const label = `attempt ${attempt.epoch}, ${attempt.outcome ?? attempt.state}`;
  const began = attempt.started_at ?? null;
  return attempt.slots.flatMap((slot): Bar[] => {
    const bar = { row: slot.node_id, from: attempt.created_at, to, label, state };
    if (began === null || began <= attempt.created_at) return [bar];
    return [{ ...bar, to: began, label: `attempt ${attempt.epoch} starts`, state: "starting" }, { ...bar, from: began }];
  });
}

function Attempts({ job }: { job: JobDetail }) {
  const now = useNow();
  const bars = useMemo(() => job.attempts.flatMap(barsOf), [job.attempts]);
  if (!bars.length) return <Nothing>It was never placed.</Nothing>;
  return <Gantt bars={bars} now={now} label={`Attempts of ${job.name} over nodes`} />;
}

function Curves({ job }: { job: JobDetail }) {
  const progress = useProgress(job.id);
  const points = progress.data;
  if (!points || points.at.length < 2) return null;
  const metrics = points.metrics ?? {};
  const shown = Object.keys(metrics);
  return (
    <div className="grid">
      {shown.slice(0, 6).map((name, i) => (
        <Panel key={name} title={name}>
          <Chart at={points.at} label={`${name} over time`} lines={[{ label: name, values: metrics[name] ?? [], colour: lineColour(i) }]} />
        </Panel>
      ))}
      {!shown.length && (
        <Panel title="Steps">
          <Chart at={points.at} label="steps over time" lines={[{ label: "step", values: points.step, colour: lineColour(0) }]} />
        </Panel>
      )}
    </div>
  );
}

function Checkpoints({ job }: { job: JobDetail }) {
  const newest = [...job.checkpoints].reverse().slice(0, 5);
  if (!newest.length) return <Nothing>It has no checkpoint.</Nothing>;
  return (
    <Facts of={newest.map((one) => [`step ${one.step}`, <>{bytes(one.size_bytes)}, <At at={one.at} /></>] as [string, React.ReactNode])} />
  );
}

function Money({ id }: { id: string }) {
  const ledger = useLedger(id);
  if (!ledger.data) return null;
  const reasons = Object.entries(ledger.data.gpu_seconds_by_reason).sort(([, a], [, b]) => b - a);
  return (
    <Stack gap={4} mt="sm">
      <Text fw={600}>{usd(ledger.data.usd_total)} so far</Text>
      <Facts of={reasons.map(([reason, seconds]) => [reason, `${(seconds / 3600).toFixed(2)} GPU-hours`])} />
    </Stack>
  );
}
