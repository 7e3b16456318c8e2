import { Paperclip } from "lucide-react";
import { useRef } from "react";
import { useCommands } from "../../keys/registry";
import { IconButton } from "../../ui/Button";
import { addFiles } from "./use-attachments";

/** Opens the browser's own dialog for files. */
export function AttachButton({ scope }: { scope: string }) {
  const input = useRef<HTMLInputElement>(null);
  const open = () => input.current?.click();
  useCommands([
    { id: "message.attach", title: "Add files…", group: "Message", keys: ["mod+shift+u"], run: open },
  ]);
  return (
    <>
      <IconButton label="Add files" keys="mod+shift+u" onClick={open}>
        <Paperclip size={16} aria-hidden="true" />
      </IconButton>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label="Files"
        onChange={(event) => {
          addFiles(scope, [...(event.target.files ?? [])]);
          // The same file may be chosen again after it was removed.
          event.target.value = "";
        }}
      />
    </>
  );
}
