/** A command asks to be let in: what it is, and yes or no. */
import { Alert, Button, Code, Group, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useSearchParams } from "wouter";
import { get, send } from "../api/client";
import { useWho } from "../api/session";
import type { DeviceGrant } from "../api/types";
import { PageTitle, Panel } from "../components/panels";
import { Ago } from "../components/time";

/** Eight letters, however they are written. */
const isWhole = (code: string): boolean => code.replace(/[^a-z]/gi, "").length === 8;

export function DevicePage() {
  const [words, setWords] = useSearchParams();
  const asked = words.get("user_code") ?? "";
  const [code, setCode] = useState(asked);
  return (
    <Stack maw={560}>
      <PageTitle title="Let a command in" />
      <Panel title="The code that it shows">
        <form
          onSubmit={(event) => {
            event.preventDefault();
            setWords({ user_code: code.trim() });
          }}
        >
          <Group align="end">
            <TextInput label="Code" placeholder="BCDF-GHJK" value={code} onChange={(event) => setCode(event.currentTarget.value)} autoComplete="off" maxLength={16} />
            <Button type="submit" variant="default" disabled={!isWhole(code)}>
              Look
            </Button>
          </Group>
        </form>
      </Panel>
      {isWhole(asked) && <Grant key={asked} code={asked} />}
    </Stack>
  );
}

function Grant({ code }: { code: string }) {
  const who = useWho();
  const path = `/login/codes/${encodeURIComponent(code)}`;
  const grant = useQuery({ queryKey: ["device", code], queryFn: () => get<DeviceGrant>(path), retry: false, staleTime: Infinity });
  const decide = useMutation({ mutationFn: (verb: "approve" | "deny") => send("POST", `${path}/${verb}`) });
  if (grant.isPending) return null;
  if (grant.error) return <Alert color="red" role="alert">{grant.error.message}</Alert>;
  if (decide.isSuccess)
    return (
      <Alert color={decide.variables === "approve" ? "teal" : "gray"} role="status">
        {decide.variables === "approve" ? "It is let in. You may close this page." : "It is not let in."}
      </Alert>
    );
  const { client, source, asked_at: askedAt, user_code: shown } = grant.data;
  return (
    <Panel title={`Let in ${client}?`}>
      <Stack>
        <Text>
          It asked from {source || "an unknown address"}, <Ago at={askedAt} />, and shows <Code>{shown}</Code>.
        </Text>
        <Text>
          It may then do what you may ({who.role}
          {who.project ? ` of ${who.project}` : ""}), as {who.actor}, for twelve hours at the most.
        </Text>
        <Alert color="orange">Only if you began this yourself, on that machine: whoever sent you a link or a code gets in as you.</Alert>
        {decide.error && (
          <Alert color="red" role="alert">
            {decide.error.message}
          </Alert>
        )}
        <Group>
          <Button loading={decide.isPending} onClick={() => decide.mutate("approve")}>
            Let it in
          </Button>
          <Button variant="default" onClick={() => decide.mutate("deny")}>
            No
          </Button>
        </Group>
      </Stack>
    </Panel>
  );
}
