/** Set one limit of a project; the others stay as they are. */
import { NumberInput, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { send } from "../api/client";
import type { Project } from "../api/types";
import { ActionButton } from "../components/confirm";
import { figure } from "../format";

export function Quota({ project }: { project: Project }) {
  const [resource, setResource] = useState(Object.keys(project.limits)[0] ?? "H100");
  const [nominal, setNominal] = useState(project.limits[resource]?.nominal ?? 8);
  const now = project.limits[resource];
  const limits = Object.fromEntries(
    Object.entries(project.limits).map(([name, limit]) => [name, { nominal: limit.nominal, borrow: limit.borrow, lend: limit.lend }]),
  );
  const wanted = { ...limits, [resource]: { ...limits[resource], nominal } };
  return (
    <ActionButton
      action={{
        label: "Set quota",
        title: `Give ${project.name} ${nominal} ${resource}?`,
        least: "admin",
        ready: resource.trim() !== "" && nominal >= 0,
        consequences: async () => [
          now ? `It has ${now.nominal} and holds ${figure(now.used)}.` : `It has no limit of ${resource} so far.`,
          "What runs goes on; what waits is placed by the new limit.",
        ],
        run: () =>
          send("PUT", `/projects/${project.name}`, { limits: wanted, cohort: project.cohort, weight: project.weight, version: project.version }),
        children: (
          <Stack gap="xs">
            <TextInput label="Of which resource" description="A GPU family, any, cpus or memory_gib" value={resource} onChange={(event) => setResource(event.currentTarget.value)} />
            <NumberInput label="How many" min={0} value={nominal} onChange={(value) => setNominal(Number(value))} />
          </Stack>
        ),
      }}
    />
  );
}
