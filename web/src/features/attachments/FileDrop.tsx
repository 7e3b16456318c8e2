import { Paperclip } from "lucide-react";
import { type ClipboardEvent, useEffect, useRef, useState } from "react";
import { fileSize } from "../../ui/size";
import { say } from "../../ui/toasts";
import { limitsNow } from "./drafts";
import { filesOf, hasFiles, type Transferred } from "./transfer";
import { addFiles } from "./use-attachments";

function take(scope: string, { files, folders }: Transferred): void {
  if (folders > 0) say("Folders can't be attached. Put them into an archive first.");
  if (files.length > 0) addFiles(scope, files);
}

/** Takes files from the clipboard; a text that came with them is pasted as ever. */
export function pasteFiles(scope: string, event: ClipboardEvent): void {
  const transferred = filesOf(event.clipboardData);
  if (transferred.files.length === 0) return;
  // Office programs put a picture of the text beside it.
  if (event.clipboardData.types.includes("text/plain")) return;
  event.preventDefault();
  take(scope, transferred);
}

/** Lets files be dropped anywhere on its parent, which must be positioned. */
export function FileDrop({ scope }: { scope: string }) {
  const place = useRef<HTMLDivElement>(null);
  const [over, setOver] = useState(false);
  useEffect(() => {
    const area = place.current?.parentElement;
    if (!area) return;
    // Entering a child is announced before leaving its parent.
    let depth = 0;
    const leave = () => {
      depth = 0;
      setOver(false);
    };
    const onEnter = (event: DragEvent) => {
      if (!hasFiles(event.dataTransfer)) return;
      event.preventDefault();
      depth++;
      setOver(true);
    };
    const onOver = (event: DragEvent) => {
      if (!hasFiles(event.dataTransfer)) return;
      event.preventDefault();
      if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
    };
    const onLeave = (event: DragEvent) => {
      if (!hasFiles(event.dataTransfer)) return;
      depth--;
      if (depth <= 0) leave();
    };
    const onDrop = (event: DragEvent) => {
      if (!hasFiles(event.dataTransfer)) return;
      event.preventDefault();
      leave();
      take(scope, filesOf(event.dataTransfer));
    };
    area.addEventListener("dragenter", onEnter);
    area.addEventListener("dragover", onOver);
    area.addEventListener("dragleave", onLeave);
    area.addEventListener("drop", onDrop);
    return () => {
      area.removeEventListener("dragenter", onEnter);
      area.removeEventListener("dragover", onOver);
      area.removeEventListener("dragleave", onLeave);
      area.removeEventListener("drop", onDrop);
    };
  }, [scope]);
  return (
    <div ref={place} className={over ? "file-drop" : undefined} hidden={!over}>
      <Paperclip size={24} aria-hidden="true" />
      Drop files to send them with the message
      <span>Any type, up to {fileSize(limitsNow().bytes)} each</span>
    </div>
  );
}
