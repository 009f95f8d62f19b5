import { defineTests } from './define-tests.ts';
import { TRANSPORT } from './transport.ts';

defineTests('conformance: transport', TRANSPORT);
