/** One incident: what was found, what was decided and done about it, who had to leave, and the evidence for a vendor. */
import { Button, Group, Stack, Text } from "@mantine/core";
import { useParams } from "wouter";
import { address, send } from "../api/client";
import { foreseen } from "../api/consequences";
import { useIncident } from "../api/queries";
import type { IncidentDetail } from "../api/types";
import { ActionButton } from "../components/confirm";
import { Facts } from "../components/facts";
import { IncidentLink, JobLink, NodeLink } from "../components/links";
import { Loaded, Nothing, PageTitle, Panel } from "../components/panels";
import { StateBadge } from "../components/states";
import { EventList } from "../components/timeline";
import { Ago, At } from "../components/time";
import { duration } from "../format";

export function IncidentPage() {
  const { id = "" } = useParams();
  const incident = useIncident(id);
  return <Loaded of={incident}>{(found) => <Shown incident={found} />}</Loaded>;
}

function Shown({ incident }: { incident: IncidentDetail }) {
  const path = `/incidents/${incident.id}`;
  const isClosed = incident.state === "closed" ? "it is closed" : null;
  return (
    <Stack>
      <PageTitle
        title={
          <Group gap="sm">
            {incident.code || incident.check} <StateBadge state={incident.state} />
          </Group>
        }
        below={
          <>
            {incident.id} on <NodeLink id={incident.node_id} /> at {incident.provider}, opened <Ago at={incident.opened_at} />
          </>
        }
      >
        <Button component="a" size="xs" variant="default" href={address(`${path}/evidence`)} download={`${incident.id}.json`}>
          Evidence
        </Button>
        <ActionButton
          action={{
            label: "Test again",
            title: "Test its devices again?",
            least: "operator",
            unless: isClosed ?? (incident.state === "escalated" ? null : "automation sees to it still; it is tested on demand once that gave up"),
            consequences: async () => ["Its devices are tested; what passes takes work again, and the incident closes by itself."],
            run: () => send("POST", `${path}/retest`),
          }}
        />
        <ActionButton
          action={{
            label: "Close incident",
            title: "Say that nothing is wrong any more?",
            least: "operator",
            isGrave: true,
            unless: isClosed,
            consequences: () => foreseen(`${path}/close`, "Nothing is tested before."),
            run: () => send("POST", `${path}/close`),
          }}
        />
      </PageTitle>
      <div className="grid">
        <Panel title="What is wrong" tone={isClosed ? "good" : "bad"}>
          <Facts
            of={[
              ["Why", incident.reason],
              ["Found by", incident.check],
              ["Rule", incident.rule],
              ["Remedy", incident.remedy.replaceAll("_", " ")],
              ["Tried before", incident.tried.map((one) => one.replaceAll("_", " ")).join(", ")],
              ["Devices", incident.gpus.join(", ") || "the whole node"],
              ["Began with", incident.cause ? <IncidentLink id={incident.cause} /> : null],
              ["Now", incident.detail],
            ]}
          />
        </Panel>
        <Panel title="Who had to leave">
          {!incident.evictions.length && <Nothing>No job had to leave.</Nothing>}
          {incident.evictions.map((one) => (
            <Text size="sm" component="div" key={one.attempt_id}>
              <JobLink id={one.job_id} /> left at <At at={one.at} />
              {one.restarted_at && `, ran again ${duration(one.restarted_at - one.at)} later`}
              {one.first_step_at && `, made a step after ${duration(one.first_step_at - one.at)}`}
            </Text>
          ))}
        </Panel>
        <Panel title="What was done">
          {!incident.orders.length && <Nothing>Nothing was ordered yet.</Nothing>}
          {incident.orders.map((one) => (
            <Text size="sm" component="div" key={`${one.kind}${one.ordered_at}`}>
              {one.kind.replaceAll("_", " ")} at <At at={one.ordered_at} />: {one.passed === null ? "under way" : one.passed ? "passed" : "failed"} {one.detail}
            </Text>
          ))}
        </Panel>
      </div>
      <Panel title="What was found">
        <Stack gap="sm">
          {incident.findings.map((finding) => (
            <div key={finding.id}>
              <Text size="sm" className="wrap">
                <strong>{finding.code || finding.check}</strong> <StateBadge state={finding.grade} /> {finding.reason}, <Ago at={finding.at} />
              </Text>
              <Text size="sm" c="dimmed" className="wrap">
                {finding.decision}
              </Text>
              {Object.keys(finding.evidence).length > 0 && (
                <pre className="log mono" tabIndex={0} aria-label="Evidence">
                  {JSON.stringify(finding.evidence, null, 1)}
                </pre>
              )}
            </div>
          ))}
        </Stack>
      </Panel>
      <Panel title="Timeline">
        <EventList events={incident.timeline} limit={200} />
      </Panel>
    </Stack>
  );
}
