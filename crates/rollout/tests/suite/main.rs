//! Rollouts of a service in another language behind a real edge: good ones, and all that can go wrong.

mod comes_back;
mod cut_off;
mod forth_and_back;
mod kept;
mod moments;
mod parts;
mod shadows;
mod support;
