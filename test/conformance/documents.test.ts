import { defineTests } from './define-tests.ts';
import { DOCUMENTS } from './documents.ts';

defineTests('conformance: manifests, indexes, configs', DOCUMENTS);
