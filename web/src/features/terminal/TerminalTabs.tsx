import { Pencil, Plus, X } from "lucide-react";
import { ContextMenu } from "radix-ui";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { IconButton } from "../../ui/Button";
import { endText, MAX_NAME, type Tab } from "./tabs";

function NameField({ tab, onName }: { tab: Tab; onName: (name: string | undefined) => void }) {
  const [name, setName] = useState(tab.label);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.select(), []);
  return (
    <input
      ref={input}
      className="terminal-name"
      aria-label="Terminal name"
      value={name}
      maxLength={MAX_NAME}
      size={Math.max(8, name.length)}
      onChange={(event) => setName(event.target.value)}
      onBlur={() => onName(name === tab.label ? undefined : name)}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.nativeEvent.isComposing) return;
        if (event.key === "Enter") onName(name);
        if (event.key !== "Escape") return;
        event.preventDefault();
        onName(undefined);
      }}
    />
  );
}

interface TerminalTabsProps {
  tabs: readonly Tab[];
  active: string | undefined;
  renaming: string | undefined;
  onSelect: (id: string, focus: boolean) => void;
  onClose: (id: string) => void;
  onRename: (id: string | undefined) => void;
  /** None: it stays as it was. */
  onName: (id: string, name: string | undefined) => void;
  onNew: () => void;
  /** Why there can't be a new one. */
  closedReason?: string;
}

export const tabId = (id: string) => `terminal-tab-${id}`;
export const panelId = (id: string) => `terminal-panel-${id}`;

/** The terminals of a session, one tab each. */
export function TerminalTabs(props: TerminalTabsProps) {
  const { tabs, active, renaming, onSelect, onClose, onRename, onName, onNew, closedReason } = props;
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (active)
      document.getElementById(tabId(active))?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [active]);

  const go = (index: number) => {
    const tab = tabs[(index + tabs.length) % tabs.length];
    if (!tab) return;
    onSelect(tab.id, false);
    document.getElementById(tabId(tab.id))?.focus();
  };
  const onKeyDown = (event: KeyboardEvent, index: number, id: string) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.key === "ArrowRight") go(index + 1);
    else if (event.key === "ArrowLeft") go(index - 1);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(tabs.length - 1);
    else if (event.key === "Enter" || event.key === " ") onSelect(id, true);
    else if (event.key === "F2") onRename(id);
    else if (event.key === "Delete") onClose(id);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <>
      <div ref={list} className="terminal-tabs" role="tablist" aria-label="Terminals">
        {tabs.map((tab, index) =>
          tab.id === renaming ? (
            <NameField key={tab.id} tab={tab} onName={(name) => onName(tab.id, name)} />
          ) : (
            <ContextMenu.Root key={tab.id}>
              <ContextMenu.Trigger asChild>
                <button
                  type="button"
                  role="tab"
                  id={tabId(tab.id)}
                  className="terminal-tab"
                  aria-selected={tab.id === active}
                  aria-controls={panelId(tab.id)}
                  aria-keyshortcuts="Delete F2"
                  tabIndex={tab.id === active ? 0 : -1}
                  title={tab.ended ? `${tab.title} · ${endText(tab.ended)}` : tab.title}
                  onClick={() => onSelect(tab.id, true)}
                  onDoubleClick={() => onRename(tab.id)}
                  onAuxClick={(event) => event.button === 1 && onClose(tab.id)}
                  onKeyDown={(event) => onKeyDown(event, index, tab.id)}
                >
                  {tab.unseen && <span className="terminal-unseen" aria-hidden="true" />}
                  <span className="truncate">{tab.label}</span>
                  {tab.unseen && <span className="hidden-text">, new output</span>}
                  {tab.ended && (
                    <span className={tab.ended.code ? "terminal-exit bad" : "terminal-exit"}>
                      {tab.ended.code === undefined ? "gone" : `exit ${tab.ended.code}`}
                    </span>
                  )}
                  <span
                    className="terminal-tab-close"
                    aria-hidden="true"
                    title="Close"
                    onClick={(event) => {
                      event.stopPropagation();
                      onClose(tab.id);
                    }}
                  >
                    <X size={12} />
                  </span>
                </button>
              </ContextMenu.Trigger>
              <ContextMenu.Portal>
                <ContextMenu.Content className="pop" collisionPadding={8}>
                  <ContextMenu.Item className="menu-item" onSelect={() => setTimeout(() => onRename(tab.id))}>
                    <Pencil size={16} aria-hidden="true" />
                    Rename
                  </ContextMenu.Item>
                  <ContextMenu.Item className="menu-item" onSelect={() => onClose(tab.id)}>
                    <X size={16} aria-hidden="true" />
                    Close
                  </ContextMenu.Item>
                </ContextMenu.Content>
              </ContextMenu.Portal>
            </ContextMenu.Root>
          ),
        )}
      </div>
      <IconButton
        label={closedReason ?? "New terminal"}
        keys={closedReason ? undefined : "ctrl+shift+`"}
        aria-disabled={closedReason !== undefined}
        onClick={() => !closedReason && onNew()}
      >
        <Plus size={14} />
      </IconButton>
    </>
  );
}
