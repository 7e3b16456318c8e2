import { install } from "./backend";

install();
void import("../src/app/main");
