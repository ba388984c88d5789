/** The door: a token becomes a session of this browser. */
import { Alert, Button, Center, Code, Paper, PasswordInput, Stack, Text, Title } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { openSession } from "../api/session";

export function Login({ refusal }: { refusal: string | null }) {
  const [token, setToken] = useState("");
  const queries = useQueryClient();
  const enter = useMutation({
    mutationFn: () => openSession({ token: token.trim() }),
    onSuccess: (who) => queries.setQueryData(["who"], who),
  });
  const wrong = enter.error?.message ?? refusal;
  return (
    <Center mih="80vh" p="md" component="main">
      <Paper withBorder p="xl" radius="md" maw={420} w="100%">
        <form
          onSubmit={(event) => {
            event.preventDefault();
            enter.mutate();
          }}
        >
          <Stack>
            <Title order={1} size="h3">
              godwit
            </Title>
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
            <Button type="submit" loading={enter.isPending} disabled={!token.trim()}>
              Log in
            </Button>
            <Text size="sm" c="dimmed">
              On the machine of the control plane, <Code>godwit dashboard</Code> opens this page logged in.
            </Text>
          </Stack>
        </form>
      </Paper>
    </Center>
  );
}
