/** What surrounds every page: the menu, the state of the line, the colours, and the keys. */
import { AppShell, Burger, Group, Kbd, Modal, NavLink, Select, Stack, Text, Title, UnstyledButton } from "@mantine/core";
import { useMantineColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { type ComponentType, type ReactNode, useEffect } from "react";
import { Link, useLocation } from "wouter";
import { useIsLive } from "../api/live";
import { useLeave, useWho } from "../api/session";
import { useKeys } from "./keys";

export interface Place {
  name: string;
  path: string;
  /** Pressed after `g`. */
  key: string;
  shows: ComponentType;
}

const isAt = (path: string, location: string): boolean =>
  path === "/" ? location === "/" : location === path || location.startsWith(`${path}/`);

export function Shell({ places, children }: { places: Place[]; children: ReactNode }) {
  const [menu, { toggle, close }] = useDisclosure(false);
  const [help, { open: openHelp, close: closeHelp }] = useDisclosure(false);
  const [location, go] = useLocation();
  const here = places.find((place) => isAt(place.path, location));
  useKeys(Object.fromEntries(places.map((place) => [place.key, () => go(place.path)])), openHelp);
  useEffect(() => {
    document.title = here ? `${here.name} · godwit` : "godwit";
  }, [here]);
  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 190, breakpoint: "sm", collapsed: { mobile: !menu } }} padding="md">
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={menu} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
            <Text fw={700} fz="lg" component="span">
              godwit
            </Text>
          </Group>
          <Group gap="sm" wrap="nowrap">
            <Line />
            <Who />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Pages">
        {places.map((place) => (
          <NavLink
            key={place.path}
            component={Link}
            href={place.path}
            label={place.name}
            active={isAt(place.path, location)}
            aria-current={isAt(place.path, location) ? "page" : undefined}
            onClick={close}
            className="place"
          />
        ))}
        <Stack gap="xs" mt="auto" p="xs">
          <Colours />
          <UnstyledButton fz="sm" c="dimmed" onClick={openHelp}>
            Keys <Kbd size="xs">?</Kbd>
          </UnstyledButton>
        </Stack>
      </AppShell.Navbar>
      <AppShell.Main>{children}</AppShell.Main>
      <Modal opened={help} onClose={closeHelp} title={<Title order={2} size="h4">Keys</Title>}>
        <Stack gap="xs">
          {places.map((place) => (
            <Group key={place.path} gap="xs">
              <Kbd>g</Kbd> then <Kbd>{place.key}</Kbd> <Text size="sm">{place.name}</Text>
            </Group>
          ))}
          <Group gap="xs">
            <Kbd>/</Kbd> <Text size="sm">search on this page</Text>
          </Group>
          <Group gap="xs">
            <Kbd>?</Kbd> <Text size="sm">this list</Text>
          </Group>
        </Stack>
      </Modal>
    </AppShell>
  );
}

function Line() {
  const stands = useIsLive();
  return (
    <span className={`state state-${stands ? "teal" : "orange"}`} role="status" data-testid="line">
      {stands ? "live" : "not live"}
    </span>
  );
}

function Who() {
  const who = useWho();
  const leave = useLeave();
  return (
    <Group gap={6} wrap="nowrap">
      {who.is_person && (
        <Text size="sm" visibleFrom="sm" data-testid="person">
          {who.actor},
        </Text>
      )}
      <Text size="sm" visibleFrom="xs" data-testid="role">
        {who.role}
        {who.project ? ` of ${who.project}` : ""}
      </Text>
      <UnstyledButton fz="sm" td="underline" onClick={() => void leave()} className="nowrap">
        Log out
      </UnstyledButton>
    </Group>
  );
}

function Colours() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Select
      label="Colours"
      size="xs"
      value={colorScheme}
      onChange={(value) => setColorScheme((value as "auto" | "light" | "dark" | null) ?? "auto")}
      data={[
        { value: "auto", label: "as the system" },
        { value: "light", label: "light" },
        { value: "dark", label: "dark" },
      ]}
      allowDeselect={false}
    />
  );
}
