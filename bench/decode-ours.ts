/** Our side of `npm run decode`, in a process of its own. */
import { main } from "./decode.ts";

await main("", "");
