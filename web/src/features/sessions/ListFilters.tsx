import { useQuery } from "@tanstack/react-query";
import { Check, ListFilter as FilterIcon, Search, X } from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { api } from "../../api/client";
import { useCommands } from "../../keys/registry";
import { IconButton } from "../../ui/Button";
import { Kbd } from "../../ui/Kbd";
import { MenuItem, MenuLabel, MenuLine } from "../../ui/Menu";
import { GROUP_TITLES, GROUPS, lastPart } from "../session/status";
import { isFiltered, type ListFilter, MAX_SEARCH, NO_FILTER } from "./filter";

/** How long a person pauses between two words rather than two letters. */
const TYPING_MS = 150;
/** More than these are no menu; the search finds the others. */
const MAX_CHOICES = 8;

/** The field says each letter at once, the address and the server hear of a pause. */
function useTyped(value: string, onChange: (value: string) => void): [string, (value: string) => void] {
  const [typed, setTyped] = useState(value);
  const told = useRef(value);
  useEffect(() => {
    // Changed by someone else: a link, the back button, "Clear filters".
    if (value !== told.current) setTyped(value);
    told.current = value;
  }, [value]);
  useEffect(() => {
    if (typed === told.current) return;
    const timer = setTimeout(() => {
      told.current = typed;
      onChange(typed);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed, onChange]);
  return [typed, setTyped];
}

interface FilterProps {
  filter: ListFilter;
  onFilter: (filter: ListFilter) => void;
}

export function SearchField({ filter, onFilter }: FilterProps) {
  const [typed, setTyped] = useTyped(filter.q, (q) => onFilter({ ...filter, q }));
  const input = useRef<HTMLInputElement>(null);
  useCommands([
    {
      id: "go.search",
      title: "Search sessions",
      group: "Go to",
      keys: ["/"],
      run: () => {
        input.current?.focus();
        input.current?.select();
      },
    },
  ]);
  const onKeyDown = (event: KeyboardEvent<HTMLInputElement>) => {
    if (event.nativeEvent.isComposing) return;
    const rows = () =>
      event.currentTarget.closest("[data-pane]")?.querySelectorAll<HTMLAnchorElement>(".session-row");
    if (event.key === "ArrowDown") {
      event.preventDefault();
      rows()?.[0]?.focus();
    } else if (event.key === "Enter") {
      event.preventDefault();
      rows()?.[0]?.click();
    } else if (event.key === "Escape" && typed) {
      event.preventDefault();
      setTyped("");
    }
  };
  return (
    <div className="list-search">
      <Search size={14} aria-hidden="true" />
      <input
        ref={input}
        type="search"
        aria-label="Search sessions"
        aria-keyshortcuts="/"
        placeholder="Search sessions"
        maxLength={MAX_SEARCH}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        onKeyDown={onKeyDown}
      />
      {typed ? (
        <IconButton label="Clear search" onClick={() => setTyped("")}>
          <X size={14} />
        </IconButton>
      ) : (
        <Kbd keys="/" />
      )}
      <FilterMenu filter={filter} onFilter={onFilter} />
    </div>
  );
}

function Choice({
  checked,
  onChange,
  detail,
  children,
}: {
  checked: boolean;
  onChange: (checked: boolean) => void;
  detail?: string;
  children: string;
}) {
  return (
    <DropdownMenu.CheckboxItem
      className="menu-item"
      checked={checked}
      onCheckedChange={onChange}
      // Several may be wanted: the menu stays.
      onSelect={(event) => event.preventDefault()}
    >
      <span className="menu-check">
        <DropdownMenu.ItemIndicator>
          <Check size={16} aria-hidden="true" />
        </DropdownMenu.ItemIndicator>
      </span>
      <span className="truncate">{children}</span>
      {detail && <span className="detail">{detail}</span>}
    </DropdownMenu.CheckboxItem>
  );
}

function FilterMenu({ filter, onFilter }: FilterProps) {
  const button = useRef<HTMLButtonElement>(null);
  const [open, setOpen] = useState(false);
  const facets = useQuery({ queryKey: ["session-facets"], queryFn: api.sessionFacets, enabled: open });
  const active = isFiltered({ ...filter, q: "" });
  return (
    <DropdownMenu.Root open={open} onOpenChange={setOpen} modal={false}>
      <DropdownMenu.Trigger asChild>
        <IconButton ref={button} label="Filter sessions" className={active ? "on" : ""}>
          <FilterIcon size={14} />
        </IconButton>
      </DropdownMenu.Trigger>
      <DropdownMenu.Portal container={button.current?.closest("nav")}>
        <DropdownMenu.Content className="pop filter-menu" align="start" sideOffset={4} collisionPadding={8}>
          <MenuLabel>Status</MenuLabel>
          {GROUPS.map((group) => (
            <Choice
              key={group}
              checked={filter.status.includes(group)}
              onChange={(checked) =>
                onFilter({
                  ...filter,
                  status: GROUPS.filter((other) =>
                    other === group ? checked : filter.status.includes(other),
                  ),
                })
              }
            >
              {GROUP_TITLES[group]}
            </Choice>
          ))}
          {(facets.data?.repositories.length ?? 0) > 0 && <MenuLabel>Repository</MenuLabel>}
          {facets.data?.repositories.slice(0, MAX_CHOICES).map(({ value, sessions }) => (
            <Choice
              key={value}
              checked={filter.repository === value}
              detail={sessions.toLocaleString()}
              onChange={(checked) => onFilter({ ...filter, repository: checked ? value : undefined })}
            >
              {lastPart(value)}
            </Choice>
          ))}
          {(facets.data?.profiles.length ?? 0) > 1 && <MenuLabel>Profile</MenuLabel>}
          {(facets.data?.profiles.length ?? 0) > 1 &&
            facets.data?.profiles.slice(0, MAX_CHOICES).map(({ value, sessions }) => (
              <Choice
                key={value}
                checked={filter.profile === value}
                detail={sessions.toLocaleString()}
                onChange={(checked) => onFilter({ ...filter, profile: checked ? value : undefined })}
              >
                {value}
              </Choice>
            ))}
          {active && (
            <>
              <MenuLine />
              <MenuItem onSelect={() => onFilter({ ...NO_FILTER, q: filter.q })}>Clear filters</MenuItem>
            </>
          )}
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  );
}

/** What the list is narrowed to, each with a way to take it off. */
export function FilterChips({ filter, onFilter }: FilterProps) {
  const chips = [
    ...filter.status.map((group) => ({
      label: GROUP_TITLES[group],
      without: { ...filter, status: filter.status.filter((other) => other !== group) },
    })),
    ...(filter.repository
      ? [{ label: lastPart(filter.repository), without: { ...filter, repository: undefined } }]
      : []),
    ...(filter.profile ? [{ label: filter.profile, without: { ...filter, profile: undefined } }] : []),
  ];
  if (chips.length === 0) return null;
  return (
    <ul className="filter-chips" aria-label="Filters">
      {chips.map(({ label, without }) => (
        <li key={label}>
          <button
            type="button"
            className="filter-chip"
            aria-label={`Remove filter ${label}`}
            onClick={() => onFilter(without)}
          >
            <span className="truncate">{label}</span>
            <X size={12} aria-hidden="true" />
          </button>
        </li>
      ))}
    </ul>
  );
}
