/** The door: an identity provider lets people in, and a token becomes a session of this browser. */
import { Alert, Button, Center, Code, Divider, Paper, PasswordInput, Stack, Text, Title } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { address, get } from "../api/client";
import { openSession } from "../api/session";
import type { LoginOffer } from "../api/types";

/** Why the provider's way did not lead in; the control plane says which, and no more. */
const WHY_NOT: Record<string, string> = {
  "no-role": "You are in no group that may come in here. An administrator of godwit can change that.",
  domain: "Your address is of a domain that may not come in here.",
  unverified: "Your provider does not say that your address is verified.",
  nameless: "Your provider does not say what to call you. An administrator of godwit can change what it is asked for.",
  disabled: "You are disabled here. Ask an administrator of godwit.",
  "too-late": "That login was begun in another browser, or too long ago. Try again.",
  "refused-there": "Your provider did not let you in.",
  unreachable: "Your provider does not answer as it should. Try again; the log of the control plane says more.",
  "not-believed": "What your provider says cannot be believed. The log of the control plane says why.",
  busy: "Too many are logging in just now. Try again in a moment.",
};

/** The reason in the address, which it leaves at once. */
function reasonHere(): string | null {
  const here = new URL(window.location.href);
  const reason = here.searchParams.get("login");
  if (!reason) return null;
  here.searchParams.delete("login");
  window.history.replaceState(null, "", here);
  return WHY_NOT[reason] ?? "You were not let in.";
}

export function Login({ refusal }: { refusal: string | null }) {
  const [reason] = useState(reasonHere);
  const offer = useQuery({ queryKey: ["login"], queryFn: () => get<LoginOffer>("/login"), retry: false, staleTime: Infinity });
  return (
    <Center mih="80vh" p="md" component="main">
      <Paper withBorder p="xl" radius="md" maw={420} w="100%">
        <Stack>
          <Title order={1} size="h3">
            godwit
          </Title>
          {reason && (
            <Alert color="red" role="alert">
              {reason}
            </Alert>
          )}
          {offer.data?.name && (
            <>
              <Button component="a" href={address("/login/start", { to: window.location.pathname + window.location.search })}>
                Log in with {offer.data.name}
              </Button>
              <Divider label="or with a token" />
            </>
          )}
          <TokenForm refusal={refusal} isSecond={Boolean(offer.data?.name)} />
        </Stack>
      </Paper>
    </Center>
  );
}

function TokenForm({ refusal, isSecond }: { refusal: string | null; isSecond: boolean }) {
  const [token, setToken] = useState("");
  const queries = useQueryClient();
  const enter = useMutation({
    mutationFn: () => openSession({ token: token.trim() }),
    onSuccess: (who) => queries.setQueryData(["who"], who),
  });
  const wrong = enter.error?.message ?? refusal;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        enter.mutate();
      }}
    >
      <Stack>
        <PasswordInput
          label="Token"
          description="One that `godwit tokens create` made, or that of `godwit up`."
          value={token}
          onChange={(event) => setToken(event.currentTarget.value)}
          autoFocus
          required
          withAsterisk={false}
          autoComplete="current-password"
        />
        {wrong && (
          <Alert color="red" role="alert">
            {wrong}
          </Alert>
        )}
        <Button type="submit" variant={isSecond ? "default" : "filled"} loading={enter.isPending} disabled={!token.trim()}>
          Log in
        </Button>
        <Text size="sm" c="dimmed">
          On the machine of the control plane, <Code>godwit dashboard</Code> opens this page logged in.
        </Text>
      </Stack>
    </form>
  );
}
